#include "userspace/daemon/loop_priority.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "userspace/base/log.h"

namespace penstock::daemon {

void LoopPriority::raise() {
  if (setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice) != 0)
    base::log_warning("priority unchanged error=\"{}\" effect=\"verdicts wait longer on a busy machine\"",
                      std::strerror(errno));
}

void LoopPriority::follow(std::uint32_t fill_permille, std::uint64_t now_boot_ns) {
  if (fill_permille >= kUrgentPermille) needed_boot_ns_ = now_boot_ns;
  const bool wanted = needed_boot_ns_ != 0 && now_boot_ns - needed_boot_ns_ < kUrgentNs;
  if (wanted == urgent_ || refused_) return;
  sched_param param{};
  param.sched_priority = wanted ? sched_get_priority_min(SCHED_RR) : 0;
  // Threads made meanwhile do not inherit it; the nice level survives the change.
  if (sched_setscheduler(0, (wanted ? SCHED_RR : SCHED_OTHER) | SCHED_RESET_ON_FORK, &param) != 0) {
    base::log_warning("real-time priority refused error=\"{}\" effect=\"more is lost when the machine is very busy\"",
                      std::strerror(errno));
    refused_ = true;
    return;
  }
  urgent_ = wanted;
}

}  // namespace penstock::daemon
