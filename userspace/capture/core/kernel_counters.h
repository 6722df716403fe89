// What the kernel programs counted, summed over CPUs. Implemented by the capture side; tests use a fake.
#pragma once

#include <array>
#include <cstdint>

#include "bpf/include/penstock/wire.h"

namespace penstock::capture {

struct KernelSnapshot {
  std::array<pn_loss_val, PN_EV_KINDS> loss{};  // by enum pn_event_kind
  std::array<std::uint64_t, PN_STATS> stats{};  // by enum pn_stat
  std::uint64_t events_ring_bytes = 0;          // waiting to be read, of the ring's size
  std::uint64_t events_ring_size = 0;
  std::uint64_t verdicts_ring_bytes = 0;
  std::uint64_t verdicts_ring_size = 0;
};

class KernelCounters {
 public:
  virtual ~KernelCounters() = default;
  // Totals since the maps were created. Pipeline thread.
  virtual KernelSnapshot read_counters() = 0;
};

}  // namespace penstock::capture
