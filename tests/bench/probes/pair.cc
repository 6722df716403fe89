// bench_pair --port N [--secs S] [--size BYTES]: one thread holds both ends of a TLS connection over loopback, in the
// middle of an endless model call: the client writes a piece of its prompt, the server a piece of its answer. Measured
// are the client's SSL_write_ex and SSL_read_ex alone; nobody is waited for in them. Prints one JSON line.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/workloads/tls_server.h"

namespace {

long now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<long>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

[[noreturn]] void stop(const char* what) {
  std::perror(what);
  std::exit(1);
}

struct Ends {
  SSL* client = nullptr;
  SSL* server = nullptr;
};

Ends connect_ends(int port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, 1) != 0)
    stop("listen");
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) stop("connect");
  const int accepted = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  Ends ends{SSL_new(SSL_CTX_new(TLS_client_method())), SSL_new(penstock::testing_tls::server_context().get())};
  SSL_set_fd(ends.client, fd);
  SSL_set_fd(ends.server, accepted);
  std::thread other([&] {
    if (SSL_accept(ends.server) != 1) stop("SSL_accept");
  });
  if (SSL_connect(ends.client) != 1) stop("SSL_connect");
  other.join();
  return ends;
}

void write_all(SSL* tls, std::string_view text) {
  std::size_t n = 0;
  if (SSL_write_ex(tls, text.data(), text.size(), &n) != 1 || n != text.size()) stop("SSL_write_ex");
}

void read_all(SSL* tls, std::vector<char>& buffer, std::size_t bytes) {
  for (std::size_t have = 0, n = 0; have < bytes; have += n)
    if (SSL_read_ex(tls, buffer.data(), bytes - have, &n) != 1) stop("SSL_read_ex");
}

// The answer comes in chunks of `size` bytes in all, framing included.
std::string answer_chunk(std::size_t size) {
  char head[16];
  for (std::size_t body = size - 5;; --body) {
    const int n = std::snprintf(head, sizeof head, "%zx\r\n", body);
    if (static_cast<std::size_t>(n) + body + 2 <= size) {
      std::string text = head + std::string(": ");
      text.append(body - 4, 'a').append("\n\n\r\n");
      return text;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  int port = 0;
  double seconds = 1;
  std::size_t size = 1024;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view key = argv[i];
    if (key == "--port") port = std::atoi(argv[i + 1]);
    if (key == "--secs") seconds = std::atof(argv[i + 1]);
    if (key == "--size") size = static_cast<std::size_t>(std::atol(argv[i + 1]));
  }
  if (port <= 0 || size < 32) {
    std::fputs("usage: bench_pair --port N [--secs S] [--size BYTES]\n", stderr);
    return 2;
  }
  const Ends ends = connect_ends(port);
  std::vector<char> buffer(size + 4096);
  const std::string head =
      "POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\ncontent-type: application/json\r\n"
      "content-length: 1000000000000\r\n\r\n"
      R"({"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":")";
  const std::string answer_head =
      "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
  write_all(ends.client, head);
  read_all(ends.server, buffer, head.size());
  write_all(ends.server, answer_head);
  read_all(ends.client, buffer, answer_head.size());
  const std::string piece(size, 'a'), chunk = answer_chunk(size);
  std::vector<long> pairs;
  for (const long end = now_ns() + static_cast<long>(seconds * 1e9); now_ns() < end;) {
    const long start = now_ns();
    write_all(ends.client, piece);
    const long written = now_ns();
    read_all(ends.server, buffer, piece.size());
    write_all(ends.server, chunk);
    const long ready = now_ns();
    read_all(ends.client, buffer, chunk.size());
    pairs.push_back(written - start + now_ns() - ready);
  }
  std::sort(pairs.begin(), pairs.end());
  double sum = 0;
  for (const long p : pairs) sum += static_cast<double>(p);
  std::printf("{\"pairs\": %zu, \"median_ns\": %ld, \"mean_ns\": %.0f, \"bytes\": %zu}\n", pairs.size(),
              pairs[pairs.size() / 2], sum / static_cast<double>(pairs.size()),
              pairs.size() * (piece.size() + chunk.size()));
  return 0;
}
