// Finds many strings in one pass (Wu-Manber: the pass skips ahead by the length of the shortest string), so that asking
// for every locator's anchors costs one read of the image. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace penstock::locators {

struct StringHit {
  std::uint32_t which;   // index into the strings asked for
  std::uint64_t offset;  // where it begins
};

inline constexpr std::size_t kMinScanBytes = 8;    // shorter strings would make every scan slow; PN_BUG
inline constexpr std::size_t kMaxAnchorHits = 64;  // per string: a hostile image cannot make the result grow

// Hits in order of their offset.
std::vector<StringHit> scan_strings(std::span<const std::uint8_t> haystack, std::span<const std::string_view> strings);

}  // namespace penstock::locators
