#include "userspace/api/spelling.h"

#include <gtest/gtest.h>

#include "userspace/api/nearest.h"

namespace penstock::api {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

TEST(Spelling, Counts) {
  EXPECT_EQ(parse_count("1500"), 1500u);
  EXPECT_EQ(parse_count("200k"), 200'000u);
  EXPECT_EQ(parse_count("2M"), 2'000'000u);
  EXPECT_EQ(parse_count("1.25M"), 1'250'000u);
  EXPECT_EQ(parse_count("18446744073709551615"), 18446744073709551615u);
  for (const char* bad : {"", "k", "1.5", "1.", ".5k", "1.2345k", "-1", "+1", "1 k", "2m", "2K", "1e3",
                          "18446744073709551616", "99999999999999999G"})
    EXPECT_EQ(parse_count(bad), std::nullopt) << bad;
}

TEST(Spelling, Durations) {
  EXPECT_EQ(parse_duration_ns("250ms"), 250'000'000u);
  EXPECT_EQ(parse_duration_ns("60s"), 60 * kSecond);
  EXPECT_EQ(parse_duration_ns("1h30m"), 5400 * kSecond);
  EXPECT_EQ(parse_duration_ns("1d"), 86'400 * kSecond);
  EXPECT_EQ(parse_duration_ns("0s"), 0u);
  for (const char* bad : {"", "60", "s", "1.5h", "30m1h", "1h1h", "1 h", "1mo", "1x", "-1s", "99999999999w"})
    EXPECT_EQ(parse_duration_ns(bad), std::nullopt) << bad;
}

TEST(Spelling, Percentages) {
  EXPECT_EQ(parse_permille("80%"), 800u);
  EXPECT_EQ(parse_permille("12.5%"), 125u);
  EXPECT_EQ(parse_permille("0.5%"), 5u);
  for (const char* bad : {"", "%", "80", "80 %", "1.25%", "1.%", "-1%"})
    EXPECT_EQ(parse_permille(bad), std::nullopt) << bad;
}

TEST(Spelling, Sizes) {
  EXPECT_EQ(parse_bytes("4096"), 4096u);
  EXPECT_EQ(parse_bytes("8MiB"), 8u << 20);
  for (const char* bad : {"", "8MB", "8m", "1.5MiB", "99999999999GiB"})
    EXPECT_EQ(parse_bytes(bad), std::nullopt) << bad;
}

TEST(Spelling, Windows) {
  const auto day = parse_window("1d");
  ASSERT_TRUE(day);
  EXPECT_EQ(day->unit(), Window::UNIT_DAY);
  EXPECT_FALSE(day->rolling());
  const auto minute = parse_window("60s rolling");
  ASSERT_TRUE(minute);
  EXPECT_EQ(minute->count(), 60u);
  EXPECT_TRUE(minute->rolling());
  EXPECT_EQ(parse_window("3mo")->unit(), Window::UNIT_MONTH);
  EXPECT_EQ(parse_window("2m")->unit(), Window::UNIT_MINUTE);
  for (const char* bad : {"", "d", "0d", "1d sliding", "1d ", "1y", "1d  rolling", "4294967296d"})
    EXPECT_EQ(parse_window(bad), std::nullopt) << bad;
}

TEST(Spelling, Rates) {
  const auto rate = parse_rate("5 in 60s");
  ASSERT_TRUE(rate);
  EXPECT_EQ(rate->count(), 5u);
  EXPECT_EQ(rate->within_ns(), 60 * kSecond);
  for (const char* bad : {"", "5", "5 in", "5 in 0s", "in 60s", "5in 60s", "5 in  60s"})
    EXPECT_EQ(parse_rate(bad), std::nullopt) << bad;
}

TEST(Spelling, FormattingIsTheReverse) {
  for (std::uint64_t n : {0ULL, 1ULL, 999ULL, 1500ULL, 200'000ULL, 2'000'000ULL, 18446744073709551615ULL}) {
    EXPECT_EQ(parse_count(format_count(n)), n);
    EXPECT_EQ(parse_duration_ns(format_duration_ns(n)), n);
    EXPECT_EQ(parse_bytes(format_bytes(n)), n);
  }
  for (std::uint32_t points : {5u, 50u, 800u, 125u, 1000u}) EXPECT_EQ(parse_permille(format_permille(points)), points);
  EXPECT_EQ(format_duration_ns(90 * kSecond), "90s");
  for (const char* text : {"1d", "60s rolling", "3mo"}) EXPECT_EQ(format_window(*parse_window(text)), text);
  EXPECT_EQ(format_rate(*parse_rate("5 in 60s")), "5 in 1m");
}

TEST(Nearest, FindsTypingErrors) {
  const std::vector<std::string> keys{"name", "match", "budgets", "on_breach"};
  EXPECT_EQ(nearest("nmae", keys), "name");
  EXPECT_EQ(nearest("budget", keys), "budgets");
  EXPECT_EQ(nearest("on-breach", keys), "on_breach");
  EXPECT_EQ(nearest("zzzz", keys), std::nullopt);
  EXPECT_EQ(nearest("", keys), std::nullopt);
  EXPECT_EQ(nearest(std::string(1000, 'n'), keys), std::nullopt);
  EXPECT_EQ(nearest_hint("zzzz", {"a", "b"}, "keys"), "known keys: a, b");
}

}  // namespace
}  // namespace penstock::api
