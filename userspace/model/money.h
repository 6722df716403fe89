// Money is an integer number of nano-dollars (10^-9 USD): a strong type with no way to or from floating point.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace penstock::model {

// Intermediate sums and products: 128 bits, divided once, then narrowed.
__extension__ typedef __int128 Int128;

struct NanoUsd {
  std::int64_t value = 0;
  auto operator<=>(const NanoUsd&) const = default;
};

// Sums and products saturate at the ends of the range: a hostile counter must not wrap a budget around to "free".
NanoUsd operator+(NanoUsd a, NanoUsd b);
NanoUsd operator-(NanoUsd a, NanoUsd b);

// A price: nano-dollars per 10^6 units (3 $/M tokens = 3'000'000'000).
struct NanoUsdPerMillion {
  std::int64_t value = 0;
  auto operator<=>(const NanoUsdPerMillion&) const = default;
};

// "12.5", "$12.50", "0.000001" -> nano-dollars; nullopt for anything else, for more than nine decimals, and on
// overflow.
std::optional<NanoUsd> parse_usd(std::string_view text);
// Shortest exact decimal with at least two digits after the point: 1500000000 -> "1.50", 1 -> "0.000000001".
std::string format_usd(NanoUsd amount);

}  // namespace penstock::model
