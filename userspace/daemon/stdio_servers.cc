#include "userspace/daemon/stdio_servers.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "userspace/base/atomic_file.h"
#include "userspace/base/fd.h"
#include "userspace/base/log.h"
#include "userspace/identity/proc_reader.h"

namespace penstock::daemon {
namespace {

// "pipe:[4711]", "socket:[4712]"; empty for what is neither.
std::string channel(std::uint32_t pid, int fd) {
  char target[64];
  const std::string path = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd);
  const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
  const std::string_view text(target, n > 0 ? static_cast<std::size_t>(n) : 0);
  return text.starts_with("pipe:") || text.starts_with("socket:") ? std::string(text) : std::string();
}

}  // namespace

std::optional<std::uint32_t> stdio_client(std::uint32_t pid) {
  constexpr int kMaxWrappers = 16;  // npx, sh -c, env, …: they leave their own standard input to the server
  const std::string input = channel(pid, STDIN_FILENO);
  if (input.empty() || channel(pid, STDOUT_FILENO).empty()) return std::nullopt;
  identity::SystemProc proc;
  for (int i = 0; i < kMaxWrappers; ++i) {
    const auto facts = proc.read(pid);
    if (!facts || facts->parent_pid <= 1) return std::nullopt;
    pid = facts->parent_pid;
    if (channel(pid, STDIN_FILENO) != input) return pid;
  }
  return std::nullopt;
}

void StdioServers::end_orphans() {
  for (const std::uint32_t pid : kernel_.stdio_servers()) {
    const base::Fd server(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    const auto stat = base::read_small_file("/proc/" + std::to_string(pid) + "/stat");
    if (!server || !stat || stat->find(") T ") == std::string::npos) continue;
    base::log_warning("stdio_server ended pid={} reason=\"its request was held by a daemon that is gone\"", pid);
    ::syscall(SYS_pidfd_send_signal, server.get(), SIGKILL, nullptr, 0);
  }
}

void StdioServers::consider(std::uint32_t pid) {
  if (watched_.contains(pid)) return;
  const auto client = stdio_client(pid);
  if (!client) return;
  if (auto done = kernel_.watch_stdio(pid, *client); !done) {
    base::log_warning("stdio_server not_followed pid={} error=\"{}\"", pid, done.error().message());
    return;
  }
  attached_ = true;
  watched_.insert(pid);
}

void StdioServers::expire(std::uint64_t now_boot_ns) {
  if (!attached_) return;
  if (!watched_.empty() || last_watched_ns_ == 0) last_watched_ns_ = now_boot_ns;
  if (now_boot_ns - last_watched_ns_ < kIdleNs) return;
  kernel_.unwatch_stdio();
  attached_ = false;
  last_watched_ns_ = 0;
}

}  // namespace penstock::daemon
