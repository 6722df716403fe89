// A duplicate of another process's socket, found by cookie (pidfd_getfd, kernel 5.6; needs CAP_SYS_PTRACE). The
// duplicate must be short-lived: while it exists, the program's close() does not send a FIN. Pipeline thread only.
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>

#include "userspace/base/fd.h"
#include "userspace/gate/core/gate_control.h"

namespace penstock::gate {

class PeerSockets {
 public:
  // An empty Fd when the process or its descriptor is gone. Tries the hint, then what worked last, then walks the
  // process's descriptors.
  base::Fd duplicate(const SocketRef& socket);
  void forget_process(std::uint32_t tgid);

 private:
  struct Process {
    std::uint32_t tgid;
    base::Fd pidfd;
  };
  static constexpr std::size_t kMaxProcesses = 1024;
  int pidfd_of(std::uint32_t tgid);

  std::list<Process> processes_;  // most recently used first
  std::unordered_map<std::uint32_t, std::list<Process>::iterator> by_tgid_;
};

}  // namespace penstock::gate
