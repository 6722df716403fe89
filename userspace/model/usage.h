// Token usage, with one meaning whatever the provider's own counters mean (OpenTelemetry GenAI semantic conventions):
//   input_tokens   all prompt tokens, cache reads and writes included
//   output_tokens  all generated tokens, reasoning included
//   the others     subsets of those two; never added to them
// Absent means "not reported", never 0.
#pragma once

#include <cstdint>
#include <optional>

namespace penstock::model {

struct Usage {
  std::optional<std::uint64_t> input_tokens;
  std::optional<std::uint64_t> output_tokens;
  std::optional<std::uint64_t> cache_read_tokens;
  std::optional<std::uint64_t> cache_write_tokens;     // all time-to-live classes together
  std::optional<std::uint64_t> cache_write_1h_tokens;  // the part of cache_write_tokens billed at the one-hour rate
  std::optional<std::uint64_t> reasoning_tokens;
  std::optional<std::uint64_t> audio_input_tokens;
  std::optional<std::uint64_t> audio_output_tokens;
  std::optional<std::uint64_t> reported_total_tokens;  // as the provider states it; evidence, not used for money
  std::optional<std::uint64_t> web_search_requests;    // billed per call by some providers
  bool operator==(const Usage&) const = default;
};

enum class UsageStatus : std::uint8_t {
  kUnknown,     // nothing reported and nothing estimated
  kExact,       // the provider said so
  kEstimated,   // computed from what was seen
  kIncomplete,  // a gap or a cut: what is there is a lower bound
};

enum class PriceStatus : std::uint8_t { kUnpriced, kExact, kAlias, kEstimated };

}  // namespace penstock::model
