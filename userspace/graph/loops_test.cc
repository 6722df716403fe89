#include "userspace/graph/loops.h"

#include <gtest/gtest.h>

namespace penstock::graph {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

// A run in which each letter is a call, one a second.
LoopDetector after(std::string_view calls) {
  LoopDetector d({});
  std::uint64_t now = 0;
  for (char c : calls) d.record("r", static_cast<std::uint64_t>(c), now += kSecond);
  return d;
}

TEST(Loops, CountsTheSameCallWithinItsTime) {
  const LoopDetector d = after("axaya");
  EXPECT_EQ(d.same_calls("r", 'a', 6 * kSecond, 60 * kSecond), 4u);
  EXPECT_EQ(d.same_calls("r", 'x', 6 * kSecond, 60 * kSecond), 2u);
  EXPECT_EQ(d.same_calls("r", 'z', 6 * kSecond, 60 * kSecond), 1u);
  EXPECT_EQ(d.same_calls("r", 'a', 6 * kSecond, 2 * kSecond), 2u);
  EXPECT_EQ(d.same_calls("r", 'a', 100 * kSecond, 60 * kSecond), 1u);
  EXPECT_EQ(d.same_calls("another", 'a', 6 * kSecond, 60 * kSecond), 1u);
}

TEST(Loops, CountsRepeatedSequences) {
  const auto cycles = [](std::string_view before, char call) {
    return after(before).cycles("r", static_cast<std::uint64_t>(call));
  };
  EXPECT_EQ(cycles("", 'a'), 1u);
  EXPECT_EQ(cycles("a", 'b'), 1u);
  EXPECT_EQ(cycles("aba", 'b'), 2u);
  EXPECT_EQ(cycles("abababa", 'b'), 4u);
  EXPECT_EQ(cycles("xabcabcab", 'c'), 3u);
  EXPECT_EQ(cycles("abcabcab", 'd'), 1u);
  EXPECT_EQ(cycles("ababxaba", 'b'), 2u);  // a break starts anew
  EXPECT_EQ(cycles("aaaaaaa", 'a'), 1u);   // not a sequence: same_calls
  EXPECT_EQ(cycles("aabaabaa", 'b'), 3u);
}

TEST(Loops, MemoryAndHistoryAreBounded) {
  LoopDetector::Options options;
  options.max_runs = 2;
  options.history = 4;
  LoopDetector d(options);
  for (std::uint64_t i = 0; i < 100; ++i) d.record("r", 1, i);
  EXPECT_EQ(d.same_calls("r", 1, 100, 1000), 5u);
  d.record("s", 1, 0);
  d.record("t", 1, 0);
  EXPECT_EQ(d.same_calls("r", 1, 100, 1000), 1u);
  d.forget("t");
  EXPECT_EQ(d.same_calls("t", 1, 100, 1000), 1u);
}

TEST(Loops, DigestsTellCallsApart) {
  EXPECT_EQ(call_digest("mcp", "search", "{}"), call_digest("mcp", "search", "{}"));
  EXPECT_NE(call_digest("mcp", "search", "{}"), call_digest("mcp", "search", "{ }"));
  EXPECT_NE(call_digest("mcp", "ab", "c"), call_digest("mcp", "a", "bc"));
}

}  // namespace
}  // namespace penstock::graph
