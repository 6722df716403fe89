// bench_llm_load: closed-loop requests over TLS from N connections, one thread each; prints one JSON line. With
// --processes it runs itself so many times instead, two at once, for one request each.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

struct Settings {
  int port = 0;
  int connections = 1;
  double seconds = 2;
  long requests = 0;  // per connection; 0: until the time is over
  long processes = 0;
  std::size_t prompt_bytes = 1024;
  long chunks = 0;
  long interval_us = 0;
  std::string host = "api.openai.com";
  std::string target = "/v1/chat/completions";
};

double now_s() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

struct Outcome {
  std::vector<double> latencies_us;
  long failures = 0;
  std::uint64_t written_bytes = 0, read_bytes = 0;  // plaintext that the TLS library took and gave
};

// Reads one whole answer; false when the connection ended.
bool read_answer(SSL* tls, std::string& buffer, std::uint64_t& read_bytes) {
  char piece[65536];
  buffer.clear();
  std::size_t n = 0, end = buffer.npos, length = buffer.npos;
  while (true) {
    if (SSL_read_ex(tls, piece, sizeof piece, &n) != 1) return false;
    read_bytes += n;
    buffer.append(piece, n);
    if (end == buffer.npos && (end = buffer.find("\r\n\r\n")) != buffer.npos) {
      std::transform(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(end), buffer.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      const std::size_t at = buffer.find("content-length: ");
      if (at < end) std::from_chars(buffer.data() + at + 16, buffer.data() + end, length);
    }
    if (end == buffer.npos) continue;
    if (length != buffer.npos ? buffer.size() >= end + 4 + length : buffer.ends_with("\r\n0\r\n\r\n")) return true;
  }
}

void work(const Settings& s, SSL_CTX* context, const std::atomic<bool>& stop, Outcome& out) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(s.port));
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    ++out.failures;
    return;
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  SSL* tls = SSL_new(context);
  SSL_set_fd(tls, fd);
  std::string target = s.target;
  if (s.chunks > 0) target += "?chunks=" + std::to_string(s.chunks) + "&interval_us=" + std::to_string(s.interval_us);
  // A provider keeps to what was asked for.
  std::string body = R"({"model":"gpt-4o-mini","max_tokens":)" + std::to_string(64 + 2 * s.chunks) + R"(,"stream":)" +
                     std::string(s.chunks > 0 ? "true" : "false") + R"(,"messages":[{"role":"user","content":")";
  constexpr std::string_view kTail = R"("}]})";
  while (body.size() + kTail.size() < s.prompt_bytes) body += "lorem ipsum dolor "[body.size() % 18];
  body += kTail;
  const std::string request = "POST " + target + " HTTP/1.1\r\nhost: " + s.host +
                              "\r\nauthorization: Bearer bench\r\ncontent-type: "
                              "application/json\r\ncontent-length: " +
                              std::to_string(body.size()) + "\r\n\r\n" + body;
  std::string answer;
  if (SSL_connect(tls) != 1) ++out.failures;
  for (long i = 0; out.failures == 0 && !stop.load(std::memory_order_relaxed) && (s.requests == 0 || i < s.requests);
       ++i) {
    const double start = now_s();
    std::size_t written = 0;
    const bool sent = SSL_write_ex(tls, request.data(), request.size(), &written) == 1;
    out.written_bytes += sent ? written : 0;
    if (!sent || !read_answer(tls, answer, out.read_bytes)) {
      ++out.failures;
      break;
    }
    out.latencies_us.push_back((now_s() - start) * 1e6);
  }
  SSL_free(tls);
  close(fd);
}

bool ended_well() {
  int status = 0;
  return wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int run_processes(const Settings& s, char* self) {
  constexpr long kAtOnce = 2;
  std::string port = std::to_string(s.port), prompt = std::to_string(s.prompt_bytes);
  std::string words[] = {"--port", port, "--requests", "1", "--prompt", prompt};
  std::vector<char*> arguments{self};
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  long running = 0, failures = 0;
  for (long i = 0; i < s.processes; ++i) {
    if (running == kAtOnce) {
      failures += ended_well() ? 0 : 1;
      --running;
    }
    pid_t child = 0;
    if (posix_spawn(&child, "/proc/self/exe", &quiet, nullptr, arguments.data(), environ) == 0)
      ++running;
    else
      ++failures;
  }
  for (; running > 0; --running) failures += ended_well() ? 0 : 1;
  posix_spawn_file_actions_destroy(&quiet);
  std::printf("{\"processes\": %ld, \"failures\": %ld}\n", s.processes, failures);
  return failures == 0 ? 0 : 1;
}

double cpu_s() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view key = argv[i];
    const char* value = argv[i + 1];
    if (key == "--port")
      s.port = std::atoi(value);
    else if (key == "--conns")
      s.connections = std::atoi(value);
    else if (key == "--secs")
      s.seconds = std::atof(value);
    else if (key == "--requests")
      s.requests = std::atol(value);
    else if (key == "--processes")
      s.processes = std::atol(value);
    else if (key == "--host")
      s.host = value;
    else if (key == "--target")
      s.target = value;
    else if (key == "--prompt")
      s.prompt_bytes = static_cast<std::size_t>(std::atol(value));
    else if (key == "--chunks")
      s.chunks = std::atol(value);
    else if (key == "--interval-us")
      s.interval_us = std::atol(value);
    else
      s.port = -1;
  }
  if (s.port <= 0 || s.connections <= 0) {
    std::fputs(
        "usage: bench_llm_load --port N [--conns N] [--secs S | --requests N] [--processes N] [--prompt BYTES] "
        "[--chunks N] [--interval-us N] [--host NAME] [--target PATH]\n",
        stderr);
    return 2;
  }
  if (s.processes > 0) return run_processes(s, argv[0]);
  std::signal(SIGPIPE, SIG_IGN);
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  std::atomic<bool> stop{false};
  std::vector<Outcome> outcomes(static_cast<std::size_t>(s.connections));
  const double start = now_s();
  std::vector<std::thread> threads;
  for (Outcome& o : outcomes) threads.emplace_back([&, out = &o] { work(s, context, stop, *out); });
  if (s.requests == 0) {
    const timespec pause{static_cast<time_t>(s.seconds),
                         static_cast<long>((s.seconds - static_cast<double>(static_cast<time_t>(s.seconds))) * 1e9)};
    nanosleep(&pause, nullptr);
    stop = true;
  }
  for (std::thread& t : threads) t.join();
  const double elapsed = now_s() - start;
  std::vector<double> all;
  long failures = 0;
  std::uint64_t written_bytes = 0, read_bytes = 0;
  for (const Outcome& o : outcomes) {
    all.insert(all.end(), o.latencies_us.begin(), o.latencies_us.end());
    failures += o.failures;
    written_bytes += o.written_bytes;
    read_bytes += o.read_bytes;
  }
  std::sort(all.begin(), all.end());
  const auto quantile = [&](double q) {
    return all.empty() ? 0.0
                       : all[std::min(all.size() - 1, static_cast<std::size_t>(q * static_cast<double>(all.size())))];
  };
  std::printf(
      "{\"requests\": %zu, \"failures\": %ld, \"per_second\": %.1f, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": "
      "%.1f, \"cpu_us_per_request\": %.2f, \"written_bytes\": %llu, \"read_bytes\": %llu}\n",
      all.size(), failures, static_cast<double>(all.size()) / elapsed, quantile(0.5), quantile(0.9), quantile(0.99),
      all.empty() ? 0.0 : cpu_s() * 1e6 / static_cast<double>(all.size()),
      static_cast<unsigned long long>(written_bytes), static_cast<unsigned long long>(read_bytes));
  return failures == 0 ? 0 : 1;
}
