#include "userspace/locators/core/string_scan.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "userspace/base/result.h"

namespace penstock::locators {
namespace {

constexpr std::size_t kBlock = 3;
constexpr std::size_t kTableSize = 1u << 15;

std::size_t hash_block(const std::uint8_t* p) {
  return (static_cast<std::size_t>(p[0]) << 10 ^ static_cast<std::size_t>(p[1]) << 5 ^ p[2]) & (kTableSize - 1);
}

}  // namespace

std::vector<StringHit> scan_strings(std::span<const std::uint8_t> haystack, std::span<const std::string_view> strings) {
  std::vector<StringHit> hits;
  if (strings.empty()) return hits;
  std::size_t shortest = std::numeric_limits<std::size_t>::max();
  for (const std::string_view s : strings) {
    if (s.size() < kMinScanBytes) PN_BUG("an anchor string is too short");
    shortest = std::min(shortest, s.size());
  }
  const std::size_t default_skip = shortest - kBlock + 1;
  std::vector<std::uint8_t> skip(kTableSize, static_cast<std::uint8_t>(std::min<std::size_t>(default_skip, 255)));
  std::vector<std::vector<std::uint32_t>> ending_at(kTableSize);
  for (std::uint32_t i = 0; i < strings.size(); ++i) {
    const auto* text = reinterpret_cast<const std::uint8_t*>(strings[i].data());
    for (std::size_t end = kBlock; end <= shortest; ++end) {
      std::uint8_t& entry = skip[hash_block(text + end - kBlock)];
      entry = static_cast<std::uint8_t>(std::min<std::size_t>(entry, shortest - end));
      if (end == shortest) ending_at[hash_block(text + end - kBlock)].push_back(i);
    }
  }
  std::vector<std::size_t> found(strings.size());
  const std::uint8_t* data = haystack.data();
  for (std::size_t end = shortest; end <= haystack.size();) {
    const std::size_t bucket = hash_block(data + end - kBlock);
    if (const std::uint8_t distance = skip[bucket]; distance != 0) {
      end += distance;
      continue;
    }
    const std::size_t begin = end - shortest;
    for (const std::uint32_t i : ending_at[bucket]) {
      const std::string_view s = strings[i];
      if (found[i] >= kMaxAnchorHits || haystack.size() - begin < s.size()) continue;
      if (std::memcmp(data + begin, s.data(), s.size()) != 0) continue;
      ++found[i];
      hits.push_back({i, begin});
    }
    ++end;
  }
  return hits;
}

}  // namespace penstock::locators
