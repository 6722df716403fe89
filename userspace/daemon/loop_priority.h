// The event loop's share of the CPU, by what depends on it.
//
// - Nobody waits for it: it takes its fair share in long slices and disturbs nobody who wakes up meanwhile
// (SCHED_BATCH).
//   Otherwise each of its turns would stand in the way of some request for milliseconds.
// - Requests wait for verdicts: a high nice level, so that a few busy agents do not delay them.
// - A ring is filling up: real time (SCHED_RR, lowest priority; the kernel keeps 5 % for everybody else, sched(7)), and
//   for a while after it has caught up: the machine is as busy as before. A thread among a thousand equals gets two
//   percent of a core even at nice -10, and the ring would overflow.
//
// What the loop needs is bounded by what the kernel programs hand on. Event loop's thread only; threads that it starts
// do not inherit anything.
#pragma once

#include <cstdint>

namespace penstock::daemon {

class LoopPriority {
 public:
  static constexpr int kNice = -10;                              // while requests wait for verdicts
  static constexpr std::uint64_t kPatientSliceNs = 100'000'000;  // the longest that the kernel takes; since 6.12
  static constexpr std::uint32_t kUrgentPermille = 250;          // of a ring
  static constexpr std::uint64_t kUrgentNs = 10'000'000'000;     // so long after the last time it was needed

  enum class Level : std::uint8_t { kPatient, kPrompt, kRealTime };

  // Once per turn: how full the fuller ring is, and whether requests wait for verdicts. What the machine refuses
  // (seccomp, a container's limits) is logged with its effect, once, and not asked for again.
  void follow(std::uint32_t fill_permille, bool gating, std::uint64_t now_boot_ns);

  Level level() const { return level_; }

 private:
  bool set(Level level);

  Level level_ = Level::kPatient;
  bool begun_ = false;
  bool refused_ = false;
  std::uint64_t needed_boot_ns_ = 0;  // when the ring was last so full
};

}  // namespace penstock::daemon
