// Freezing cgroups and ending processes on a person's order. Pipeline thread only.
#pragma once

#include "userspace/daemon/cgroups.h"
#include "userspace/pipeline/ports.h"

namespace penstock::daemon {

class ProcessControl final : public pipeline::ProcessControl {
 public:
  explicit ProcessControl(const Cgroups& cgroups) : cgroups_(cgroups) {}
  // Freezes the cgroup of the process, which holds its siblings too. Refused for the root and for our own cgroup.
  base::Result<> freeze(const model::Subject& subject, bool frozen) override;
  base::Result<> sigkill(const model::ProcessKey& process) override;

 private:
  const Cgroups& cgroups_;
};

// When the process started, in the ticks that identity keys use; 0: gone.
std::uint64_t process_start_boot_ns(std::uint32_t pid);

}  // namespace penstock::daemon
