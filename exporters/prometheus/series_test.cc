#include "exporters/prometheus/series.h"

#include <gtest/gtest.h>

namespace penstock::exporters {
namespace {

TEST(NameGuard, LetsKnownConfirmedAndTheFirstNamesPass) {
  NameGuard guard([](std::string_view name) { return name == "gpt-5"; }, {2, 1, 8});
  EXPECT_EQ(guard.bound(""), "");
  EXPECT_EQ(guard.bound("a"), "a");
  EXPECT_EQ(guard.bound("b"), "b");
  EXPECT_EQ(guard.bound("c"), kOther);
  EXPECT_EQ(guard.bound("a"), "a");
  EXPECT_EQ(guard.bound("gpt-5"), "gpt-5");
  EXPECT_EQ(guard.bound("d", true), "d");
  EXPECT_EQ(guard.bound("d"), "d");
  EXPECT_EQ(guard.bound("e", true), kOther);
  EXPECT_EQ(guard.bound("too-long-a-name"), kOther);
}

TEST(NameGuard, RefusesWhatIsNoName) {
  NameGuard guard;
  for (const char* name : {"a b", "a\nb", "\xff", "m\xc3\xb6", "\x01"}) EXPECT_EQ(guard.bound(name), kOther);
}

TEST(SeriesTable, FallsBackToOtherAndNeverLosesAnUpdate) {
  // penstock_cost_usd_total: agent* namespace provider model* kind price_status
  SeriesTable<std::uint64_t> table(Metric::kCost, 100, [](auto) { return std::uint64_t{0}; });
  bool overflowed = false;
  std::uint64_t sent = 0, overflows = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::string agent = "agent-" + std::to_string(i), ns = "ns-" + std::to_string(i % 3);
    const std::string_view values[] = {agent, ns, "openai", "m", "llm", "exact"};
    table.at(values, 0, overflowed) += 1;
    sent += 1;
    overflows += overflowed ? 1 : 0;
  }
  EXPECT_LE(table.all().size(), 100u);
  EXPECT_EQ(overflows, sent - 90);
  std::uint64_t counted = 0, other = 0;
  for (const auto& [key, series] : table.all()) {
    counted += series.value;
    if (key.starts_with("_other\xffns-")) ++other;
  }
  EXPECT_EQ(counted, sent);
  EXPECT_EQ(other, 3u);  // totals per namespace stay
}

TEST(SeriesTable, HasALastSeriesWhenClosedLabelsExplodeAsWell) {
  SeriesTable<std::uint64_t> table(Metric::kCost, 50, [](auto) { return std::uint64_t{0}; });
  bool overflowed = false;
  for (int i = 0; i < 10'000; ++i) {
    const std::string ns = std::to_string(i);
    const std::string_view values[] = {"a", ns, "p", "m", "llm", "exact"};
    table.at(values, 0, overflowed) += 1;
  }
  EXPECT_LE(table.all().size(), 50u);
  std::uint64_t counted = 0;
  for (const auto& [_, series] : table.all()) counted += series.value;
  EXPECT_EQ(counted, 10'000u);
}

TEST(SeriesTable, ForgetsWhatIsIdle) {
  SeriesTable<int> table(Metric::kHeld, 10, [](auto) { return 1; });
  bool overflowed = false;
  const std::string_view a[] = {"a"}, b[] = {"b"};
  table.at(a, 100, overflowed);
  table.at(b, 200, overflowed);
  int removed = 0;
  table.sweep(150, [&](int&) { ++removed; });
  EXPECT_EQ(removed, 1);
  EXPECT_EQ(table.all().size(), 1u);
}

}  // namespace
}  // namespace penstock::exporters
