#include "userspace/daemon/loop_priority.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "userspace/base/log.h"

namespace penstock::daemon {
namespace {

// struct sched_attr and SCHED_FLAG_RESET_ON_FORK, sched_setattr(2): the kernel's headers cannot be included beside
// libc's.
struct SchedAttributes {
  std::uint32_t size = sizeof(SchedAttributes);
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime_ns = 0, deadline_ns = 0, period_ns = 0;
};
constexpr std::uint64_t kResetOnFork = 0x01;

}  // namespace

bool LoopPriority::set(Level level) {
  SchedAttributes wanted;
  wanted.flags = kResetOnFork;
  switch (level) {
    case Level::kPatient:
      wanted.policy = SCHED_BATCH;
      wanted.runtime_ns = kPatientSliceNs;
      break;
    case Level::kPrompt:
      wanted.policy = SCHED_OTHER;
      wanted.nice = kNice;
      break;
    case Level::kRealTime:
      wanted.policy = SCHED_RR;
      wanted.priority = static_cast<std::uint32_t>(sched_get_priority_min(SCHED_RR));
      break;
  }
  return syscall(SYS_sched_setattr, 0, &wanted, 0) == 0;
}

void LoopPriority::follow(std::uint32_t fill_permille, bool gating, std::uint64_t now_boot_ns) {
  if (fill_permille >= kUrgentPermille) needed_boot_ns_ = now_boot_ns;
  const bool urgent = needed_boot_ns_ != 0 && now_boot_ns - needed_boot_ns_ < kUrgentNs;
  const Level wanted = urgent ? Level::kRealTime : gating ? Level::kPrompt : Level::kPatient;
  if ((begun_ && wanted == level_) || refused_) return;
  begun_ = true;
  if (!set(wanted)) {
    base::log_warning("priority unchanged error=\"{}\" effect=\"on a busy machine verdicts wait longer, more is lost\"",
                      std::strerror(errno));
    refused_ = true;
    return;
  }
  level_ = wanted;
}

}  // namespace penstock::daemon
