// Saturating arithmetic on ledger amounts: a hostile counter can fill an account, never wrap it around or below zero.
#pragma once

#include <cstdint>
#include <limits>

namespace penstock::ledger {

inline constexpr std::int64_t kMaxAmount = std::numeric_limits<std::int64_t>::max();

inline std::int64_t add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return b > 0 ? kMaxAmount : 0;
  return sum < 0 ? 0 : sum;
}
inline std::int64_t sub(std::int64_t a, std::int64_t b) {
  std::int64_t difference = 0;
  if (__builtin_sub_overflow(a, b, &difference)) return b > 0 ? 0 : kMaxAmount;
  return difference < 0 ? 0 : difference;
}
// The most one call can take from an account (70 000 dollars; 7*10^13 tokens): with at most 2^16 calls in flight the
// sum of reservations is then exact, so that what is given back is what was taken.
inline constexpr std::int64_t kMaxCallAmount = std::int64_t{1} << 46;
inline constexpr std::size_t kMaxCallsInFlight = std::size_t{1} << 16;

}  // namespace penstock::ledger
