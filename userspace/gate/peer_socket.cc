#include "userspace/gate/peer_socket.h"

#include <dirent.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <string>

namespace penstock::gate {
namespace {

// The descriptor number may have been reused since it was noted: only the cookie tells.
base::Fd duplicate_if(int pidfd, int fd, std::uint64_t cookie) {
  base::Fd copy(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, fd, 0)));
  std::uint64_t found = 0;
  socklen_t bytes = sizeof found;
  if (!copy || getsockopt(copy.get(), SOL_SOCKET, SO_COOKIE, &found, &bytes) != 0 || found != cookie) return {};
  return copy;
}

}  // namespace

int PeerSockets::pidfd_of(std::uint32_t tgid) {
  if (const auto known = by_tgid_.find(tgid); known != by_tgid_.end()) {
    processes_.splice(processes_.begin(), processes_, known->second);
    return processes_.front().pidfd.get();
  }
  base::Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, tgid, 0)));
  if (!pidfd) return -1;
  if (processes_.size() >= kMaxProcesses) {
    by_tgid_.erase(processes_.back().tgid);
    processes_.pop_back();
  }
  processes_.push_front({tgid, std::move(pidfd)});
  by_tgid_[tgid] = processes_.begin();
  return processes_.front().pidfd.get();
}

void PeerSockets::forget_process(std::uint32_t tgid) {
  const auto known = by_tgid_.find(tgid);
  if (known == by_tgid_.end()) return;
  processes_.erase(known->second);
  by_tgid_.erase(known);
}

base::Fd PeerSockets::duplicate(const SocketRef& socket) {
  const int pidfd = pidfd_of(socket.tgid);
  if (pidfd < 0) return {};
  if (socket.fd_hint >= 0) {
    if (base::Fd copy = duplicate_if(pidfd, socket.fd_hint, socket.cookie)) return copy;
  }
  DIR* dir = opendir(("/proc/" + std::to_string(socket.tgid) + "/fd").c_str());
  if (dir == nullptr) {
    forget_process(socket.tgid);  // a recycled pid gets a pidfd of its own
    return {};
  }
  base::Fd found;
  while (const dirent* entry = readdir(dir)) {
    int fd = -1;
    const char* end = entry->d_name + std::strlen(entry->d_name);
    if (std::from_chars(entry->d_name, end, fd).ptr != end) continue;
    char target[16];
    const ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof target);
    if (n < 7 || std::memcmp(target, "socket:", 7) != 0) continue;
    found = duplicate_if(pidfd, fd, socket.cookie);
    if (found) break;
  }
  closedir(dir);
  return found;
}

}  // namespace penstock::gate
