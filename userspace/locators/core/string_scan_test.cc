#include "userspace/locators/core/string_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

namespace penstock::locators {
namespace {

using namespace std::string_view_literals;

std::span<const std::uint8_t> bytes(std::string_view s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}

std::vector<std::pair<std::uint32_t, std::uint64_t>> scan(std::string_view text,
                                                          std::vector<std::string_view> strings) {
  std::vector<std::pair<std::uint32_t, std::uint64_t>> out;
  for (const StringHit& h : scan_strings(bytes(text), strings)) out.emplace_back(h.which, h.offset);
  return out;
}

TEST(StringScan, FindsStringsAtTheEdges) {
  EXPECT_THAT(scan("abcdefghXabcdefgh", {"abcdefgh"}), testing::ElementsAre(std::pair(0u, 0ull), std::pair(0u, 9ull)));
  EXPECT_THAT(scan("abcdefg", {"abcdefgh"}), testing::IsEmpty());
  EXPECT_THAT(scan("", {"abcdefgh"}), testing::IsEmpty());
  EXPECT_THAT(scan("abcdefghi", {}), testing::IsEmpty());
}

TEST(StringScan, FindsStringsOfDifferentLengthsThatShareABeginning) {
  EXPECT_THAT(scan("..ssl_write_internal..", {"ssl_write", "ssl_write_internal"}),
              testing::UnorderedElementsAre(std::pair(0u, 2ull), std::pair(1u, 2ull)));
}

TEST(StringScan, FindsOverlappingPlaces) { EXPECT_THAT(scan("aaaaaaaaaa", {"aaaaaaaa"}), testing::SizeIs(3)); }

TEST(StringScan, NeverReturnsMoreThanTheLimit) {
  EXPECT_EQ(scan(std::string(10'000, 'a'), {"aaaaaaaa"}).size(), kMaxAnchorHits);
}

// Against the obvious implementation, on text of a small alphabet so that near misses are common.
TEST(StringScan, AgreesWithAPlainSearch) {
  std::mt19937 random(7);
  const std::vector<std::string_view> strings = {"abababba", "bbbbaaaab", "aabbaabbaab", "babababababab"};
  for (int round = 0; round < 200; ++round) {
    std::string text(300, ' ');
    for (char& c : text) c = "ab"[random() % 2];
    for (int i = 0; i < 5; ++i) {
      const std::string_view s = strings[random() % strings.size()];
      text.replace(random() % (text.size() - s.size()), s.size(), s);
    }
    std::vector<std::pair<std::uint32_t, std::uint64_t>> expected;
    for (std::uint32_t i = 0; i < strings.size(); ++i)
      for (std::size_t at = text.find(strings[i]); at != std::string::npos; at = text.find(strings[i], at + 1))
        expected.emplace_back(i, at);
    EXPECT_THAT(scan(text, strings), testing::UnorderedElementsAreArray(expected));
  }
}

}  // namespace
}  // namespace penstock::locators
