// bench_unrelated [--secs S]: nanoseconds per system call, and per message over a unix, a TCP and a UDP socket, of a
// program that has nothing to do with TLS or models. Each is the best of many short batches: whatever else the machine
// does only adds. Prints one JSON line.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <limits>

namespace {

double now_s() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

template <class F>
double ns_per_call(double seconds, F call) {
  constexpr long kBatch = 256;
  double best = std::numeric_limits<double>::max();
  const double end = now_s() + seconds;
  for (double now = now_s(), start = now; start < end; start = now) {
    for (long i = 0; i < kBatch; ++i)
      if (!call()) {
        std::perror("call");
        std::exit(1);
      }
    now = now_s();
    best = std::min(best, now - start);
  }
  return best * 1e9 / kBatch;
}

sockaddr_in loopback() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void listen_at(int fd, sockaddr_in& address) {
  socklen_t bytes = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) {
    std::perror("bind");
    std::exit(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc == 3 && std::strcmp(argv[1], "--secs") == 0 ? std::atof(argv[2]) : 0.3;
  char buffer[64] = {};
  const int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  int pipes[2], local[2];
  sockaddr_in udp_address = loopback(), tcp_address = loopback();
  const int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
            listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  listen_at(udp, udp_address);
  listen_at(listener, tcp_address);
  const int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  if (pipe2(pipes, O_CLOEXEC) != 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, local) != 0 ||
      listen(listener, 1) != 0 || connect(tcp, reinterpret_cast<sockaddr*>(&tcp_address), sizeof tcp_address) != 0) {
    std::perror("connect");
    return 1;
  }
  const int peer = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const ssize_t n = sizeof buffer;
  const double getpid_ns = ns_per_call(seconds, [] { return syscall(SYS_getpid) > 0; });
  const double read_ns = ns_per_call(seconds, [&] { return read(zero, buffer, 1) == 1; });
  const double write_ns = ns_per_call(seconds, [&] { return write(null, buffer, 1) == 1; });
  const double pipe_ns = ns_per_call(seconds, [&] {
    return write(pipes[1], buffer, sizeof buffer) == n && read(pipes[0], buffer, sizeof buffer) == n;
  });
  const double unix_ns = ns_per_call(seconds, [&] {
    return send(local[1], buffer, sizeof buffer, 0) == n && recv(local[0], buffer, sizeof buffer, 0) == n;
  });
  const double udp_ns = ns_per_call(seconds, [&] {
    return sendto(udp, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&udp_address), sizeof udp_address) == n &&
           recv(udp, buffer, sizeof buffer, 0) == n;
  });
  const double tcp_ns = ns_per_call(
      seconds, [&] { return send(tcp, buffer, sizeof buffer, 0) == n && recv(peer, buffer, sizeof buffer, 0) == n; });
  std::printf(
      "{\"getpid\": %.1f, \"read\": %.1f, \"write\": %.1f, \"pipe\": %.1f, \"unix\": %.1f, \"udp\": %.1f, "
      "\"tcp\": %.1f}\n",
      getpid_ns, read_ns, write_ns, pipe_ns, unix_ns, udp_ns, tcp_ns);
  return 0;
}
