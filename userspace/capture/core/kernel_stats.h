// What the kernel side counted, summed over CPUs. Monotonic while the maps live (they outlive the daemon).
#pragma once

#include <array>
#include <cstdint>

#include "bpf/include/penstock/wire.h"

namespace penstock::capture {

struct KernelStats {
  std::array<pn_loss_val, PN_EV_KINDS> loss{};      // by pn_event_kind
  std::array<std::uint64_t, PN_STATS> stats{};      // by pn_stat
  std::uint64_t events_ring_bytes = 0;              // waiting to be read, and the ring's size
  std::uint64_t events_ring_size = 0;
  std::uint64_t verdicts_ring_bytes = 0;
  std::uint64_t verdicts_ring_size = 0;

  std::uint64_t lost_records() const {
    std::uint64_t n = 0;
    for (const pn_loss_val& l : loss) n += l.lost_ring + l.lost_fault + l.lost_rate;
    return n;
  }
};

}  // namespace penstock::capture
