#include "userspace/model/money.h"

#include <limits>

namespace penstock::model {
namespace {

constexpr std::int64_t kNano = 1'000'000'000;

NanoUsd saturate(Int128 v) {
  constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
  constexpr auto kMin = std::numeric_limits<std::int64_t>::min();
  if (v > kMax) return {kMax};
  if (v < kMin) return {kMin};
  return {static_cast<std::int64_t>(v)};
}

}  // namespace

NanoUsd operator+(NanoUsd a, NanoUsd b) { return saturate(static_cast<Int128>(a.value) + b.value); }
NanoUsd operator-(NanoUsd a, NanoUsd b) { return saturate(static_cast<Int128>(a.value) - b.value); }

std::optional<NanoUsd> parse_usd(std::string_view text) {
  if (!text.empty() && text.front() == '$') text.remove_prefix(1);
  if (text.empty() || text.front() == '.') return std::nullopt;
  Int128 total = 0;
  int decimals = -1;  // -1: before the point
  for (char c : text) {
    if (c == '.') {
      if (decimals >= 0) return std::nullopt;
      decimals = 0;
      continue;
    }
    if (c < '0' || c > '9') return std::nullopt;
    if (decimals >= 0 && ++decimals > 9) return std::nullopt;
    total = total * 10 + (c - '0');
    if (total > static_cast<Int128>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
  }
  if (decimals == 0) return std::nullopt;
  for (int i = decimals < 0 ? 0 : decimals; i < 9; ++i) total *= 10;
  if (total > static_cast<Int128>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
  return NanoUsd{static_cast<std::int64_t>(total)};
}

std::string format_usd(NanoUsd amount) {
  const bool negative = amount.value < 0;
  // Negating the minimum would overflow: go through unsigned.
  std::uint64_t magnitude =
      negative ? 0 - static_cast<std::uint64_t>(amount.value) : static_cast<std::uint64_t>(amount.value);
  std::string fraction = std::to_string(magnitude % kNano);
  fraction.insert(0, 9 - fraction.size(), '0');
  while (fraction.size() > 2 && fraction.back() == '0') fraction.pop_back();
  return (negative ? "-" : "") + std::to_string(magnitude / kNano) + "." + fraction;
}

}  // namespace penstock::model
