#include "userspace/daemon/process_control.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "userspace/base/fd.h"
#include "userspace/identity/proc_reader.h"

namespace penstock::daemon {

std::uint64_t process_start_boot_ns(std::uint32_t pid) {
  identity::SystemProc reader;
  const auto facts = reader.read(pid);
  return facts ? facts->key.start_boot_ns : 0;
}

base::Result<> ProcessControl::freeze(const model::Subject& subject, bool frozen) {
  identity::SystemProc reader;
  const auto self = reader.read(static_cast<std::uint32_t>(::getpid()));
  if (subject.cgroup.empty() || subject.cgroup == "/" || (self && self->cgroup == subject.cgroup)) {
    return base::Error{base::ErrorCode::kFailure, EPERM,
                       fmt::format("cannot freeze the cgroup {} of process {}", subject.cgroup, subject.process.pid),
                       "it holds more than the target; give the target a cgroup of its own, e.g. with penstock run"};
  }
  return cgroups_.freeze(subject.cgroup, frozen);
}

base::Result<> ProcessControl::sigkill(const model::ProcessKey& process) {
  // Through a descriptor that is verified after it was opened: the pid may belong to somebody else by now.
  const base::Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  if (!pidfd)
    return errno == ESRCH ? base::Result<>() : base::errno_error(errno, fmt::format("pidfd_open {}", process.pid));
  if (process_start_boot_ns(process.pid) != process.start_boot_ns) return {};
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0) != 0 && errno != ESRCH)
    return base::errno_error(errno, fmt::format("kill {}", process.pid));
  return {};
}

}  // namespace penstock::daemon
