// Runaway detection: the same call again and again, and the same sequence of calls over and over, in one run.
//
// A call is a digest (call_digest): nothing of its arguments is kept. Each run has a short history of admitted calls; a
// call that was refused is not added, so that retrying it neither makes things worse nor resets them. Memory and work
// are bounded: O(history) for a call. Times are boot-time nanoseconds. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "userspace/graph/bounded_map.h"

namespace penstock::graph {

// Of the kind of call ("mcp", "a2a", …), the tool's name and its arguments as sent. Not keyed: whoever makes calls
// collide only stops himself.
std::uint64_t call_digest(std::string_view kind, std::string_view tool, std::string_view arguments);

class LoopDetector {
 public:
  struct Options {
    std::size_t max_runs = 4096;
    std::size_t history = 128;    // calls remembered of a run
    std::size_t max_period = 16;  // longest sequence looked for
  };
  explicit LoopDetector(const Options& options);

  // How often this call was made within the last `within_ns`, this time included; at most history + 1.
  std::uint32_t same_calls(std::string_view run, std::uint64_t call, std::uint64_t now_ns,
                           std::uint64_t within_ns) const;
  // How often the sequence of two or more different calls that ends with this one was made without a break, this time
  // included; 1 when nothing repeats.
  std::uint32_t cycles(std::string_view run, std::uint64_t call) const;
  // The call was admitted.
  void record(std::string_view run, std::uint64_t call, std::uint64_t now_ns);
  void forget(std::string_view run) { runs_.erase(run); }

 private:
  struct Call {
    std::uint64_t digest = 0;
    std::uint64_t at_ns = 0;
  };
  Options options_;
  BoundedMap<std::string, std::deque<Call>> runs_;
};

}  // namespace penstock::graph
