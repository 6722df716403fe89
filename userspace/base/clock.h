// Time. Deadlines, heartbeats and event times use the boot-time clock (it counts suspend, never jumps); calendar
// windows and what people read use real time. Injected wherever code depends on time: tests drive a ManualClock.
#pragma once

#include <cstdint>

namespace penstock::base {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::uint64_t boot_ns() const = 0;  // CLOCK_BOOTTIME, nanoseconds
  virtual std::int64_t real_ns() const = 0;   // CLOCK_REALTIME, nanoseconds since 1970-01-01 UTC
};

class SystemClock final : public Clock {
 public:
  std::uint64_t boot_ns() const override;
  std::int64_t real_ns() const override;
};

// For tests and replay: both clocks move only when told to. Not thread-safe.
class ManualClock final : public Clock {
 public:
  ManualClock(std::uint64_t boot, std::int64_t real) : boot_(boot), real_(real) {}
  std::uint64_t boot_ns() const override { return boot_; }
  std::int64_t real_ns() const override { return real_; }
  void advance_ns(std::uint64_t ns) {
    boot_ += ns;
    real_ += static_cast<std::int64_t>(ns);
  }

 private:
  std::uint64_t boot_;
  std::int64_t real_;
};

}  // namespace penstock::base
