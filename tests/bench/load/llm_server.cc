// bench_llm_server --port N: TLS 1.3, HTTP/1.1 keep-alive, one thread per connection. Prints "ready" when it listens.
//   POST /v1/chat/completions                   one JSON answer with usage
//   POST …?chunks=200&interval_us=20000         SSE: that many chunks, then usage and [DONE]; each is one TLS record
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <thread>

#include "tests/workloads/tls_server.h"

namespace {

long query(std::string_view target, std::string_view name) {
  const std::size_t at = target.find(name);
  long value = 0;
  if (at != target.npos) std::from_chars(target.data() + at + name.size(), target.data() + target.size(), value);
  return value;
}

bool send_all(SSL* tls, std::string_view text) {
  std::size_t written = 0;
  return SSL_write_ex(tls, text.data(), text.size(), &written) == 1;
}

bool answer(SSL* tls, std::string_view target) {
  static constexpr std::string_view kUsage =
      R"("usage":{"prompt_tokens":256,"completion_tokens":32,"total_tokens":288})";
  const long chunks = query(target, "chunks="), interval_us = query(target, "interval_us=");
  if (chunks == 0) {
    std::string body =
        R"({"id":"chatcmpl-bench","object":"chat.completion","created":1,"model":"gpt-4o-mini","choices":[{"index":0,)"
        R"("message":{"role":"assistant","content":"A short answer."},"finish_reason":"stop"}],)";
    body.append(kUsage).append("}");
    return send_all(tls, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: " +
                             std::to_string(body.size()) + "\r\n\r\n" + body);
  }
  const auto event = [&](std::string_view data) {
    std::string text = "data: " + std::string(data) + "\n\n";
    char size[16];
    std::snprintf(size, sizeof size, "%zx\r\n", text.size());
    return send_all(tls, size + text + "\r\n");
  };
  if (!send_all(tls, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"))
    return false;
  for (long i = 0; i < chunks; ++i) {
    if (interval_us > 0) {
      const timespec pause{interval_us / 1'000'000, interval_us % 1'000'000 * 1000};
      nanosleep(&pause, nullptr);
    }
    if (!event(
            R"({"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]})"))
      return false;
  }
  std::string last =
      R"({"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1,"model":"gpt-4o-mini","choices":[],)";
  return event(last.append(kUsage).append("}")) && event("[DONE]") && send_all(tls, "0\r\n\r\n");
}

void serve(SSL_CTX* context, int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  SSL* tls = SSL_new(context);
  SSL_set_fd(tls, fd);
  std::string head;
  char buffer[65536];
  if (SSL_accept(tls) == 1) {
    while (true) {
      head.clear();
      std::size_t end = head.npos, n = 0;
      while ((end = head.find("\r\n\r\n")) == head.npos && head.size() < 65536 &&
             SSL_read_ex(tls, buffer, sizeof buffer, &n) == 1)
        head.append(buffer, n);
      if (end == head.npos) break;
      const std::string_view view(head);
      const std::string_view target = view.substr(5, view.find(' ', 5) - 5);
      const std::size_t at = view.find("content-length: ");
      std::size_t length = 0;
      if (at != view.npos) std::from_chars(view.data() + at + 16, view.data() + end, length);
      std::size_t have = head.size() - end - 4;
      while (have < length && SSL_read_ex(tls, buffer, sizeof buffer, &n) == 1) have += n;
      if (have < length || !answer(tls, target)) break;
    }
  }
  SSL_free(tls);
  close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  const int port = argc == 3 && std::strcmp(argv[1], "--port") == 0 ? std::atoi(argv[2]) : 0;
  if (port <= 0) {
    std::fputs("usage: bench_llm_server --port N\n", stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  const auto context = penstock::testing_tls::server_context();
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, 1024) != 0) {
    std::perror("listen");
    return 1;
  }
  std::puts("ready");
  std::fflush(stdout);
  while (true) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) std::thread(serve, context.get(), fd).detach();
  }
}
