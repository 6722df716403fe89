// For tests: one input, cut in every way, must give one log. A parser under test is wrapped in a function that takes
// the pieces and returns its events as text.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::parsers::wire::testing {

using Pieces = std::vector<std::string_view>;
using Run = std::function<std::string(const Pieces&)>;

inline std::span<const std::uint8_t> bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view text(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Allocations since the program began (for tests that add testing_allocations.cc).
std::size_t allocations();
// Bytes in use of what was allocated with new.
std::size_t live_bytes();

// Feeds whole, byte by byte and split in two at every position (long inputs: at about 500 of them); returns the log of
// the whole. Events must therefore not show where pieces ended: join what is delivered in pieces.
inline std::string feed_every_way(std::string_view input, const Run& run) {
  const std::string whole = run({input});
  Pieces single;
  for (std::size_t i = 0; i < input.size(); ++i) single.push_back(input.substr(i, 1));
  EXPECT_EQ(run(single), whole) << "byte by byte";
  const std::size_t step = input.size() / 500 + 1;
  for (std::size_t cut = 1; cut < input.size(); cut += step) {
    const std::string split = run({input.substr(0, cut), input.substr(cut)});
    EXPECT_EQ(split, whole) << "split at " << cut;
    if (split != whole) break;
  }
  for (const std::size_t size : {3, 7, 64}) {
    Pieces pieces;
    for (std::size_t i = 0; i < input.size(); i += size) pieces.push_back(input.substr(i, size));
    EXPECT_EQ(run(pieces), whole) << "in pieces of " << size;
  }
  return whole;
}

}  // namespace penstock::parsers::wire::testing
