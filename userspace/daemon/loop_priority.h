// The event loop's share of the CPU. A few busy agents would else leave it a small one: requests would wait, the rings
// overflow. Its own need is bounded by what the kernel programs hand on.
//
// A high nice level is enough while few threads compete. Against hundreds it is not: a thread among a thousand equals
// gets two percent of a core even at nice -10. So while a ring is filling up, the loop runs in real time (SCHED_RR,
// lowest priority; the kernel keeps 5 % for everybody else, sched(7)), and for a while after it has caught up: the
// machine is as busy as before.
// Event loop's thread only.
#pragma once

#include <cstdint>

namespace penstock::daemon {

class LoopPriority {
 public:
  static constexpr int kNice = -10;
  static constexpr std::uint32_t kUrgentPermille = 125;       // of a ring
  static constexpr std::uint64_t kUrgentNs = 10'000'000'000;  // so long after the last time it was needed

  // Of the calling thread. Refusals are logged with their effect, and work goes on.
  void raise();
  // Once per turn: how full the fuller ring is.
  void follow(std::uint32_t fill_permille, std::uint64_t now_boot_ns);

  bool urgent() const { return urgent_; }

 private:
  bool urgent_ = false;
  std::uint64_t needed_boot_ns_ = 0;  // when the ring was last so full
  bool refused_ = false;  // real time is not to be had here (seccomp, a container's limits): not asked for again
};

}  // namespace penstock::daemon
