#include "cli/output.h"

#include <gtest/gtest.h>

#include <limits>

namespace penstock::cli {
namespace {

TEST(Output, Counts) {
  EXPECT_EQ(short_count(0), "0");
  EXPECT_EQ(short_count(999), "999");
  EXPECT_EQ(short_count(1000), "1.00k");
  EXPECT_EQ(short_count(12'345), "12.3k");
  EXPECT_EQ(short_count(999'999), "999k");
  EXPECT_EQ(short_count(4'560'000), "4.56M");
  EXPECT_EQ(short_count(std::numeric_limits<std::uint64_t>::max()), "18.4E");
  EXPECT_EQ(long_count(0), "0");
  EXPECT_EQ(long_count(123), "123");
  EXPECT_EQ(long_count(1'234'567), "1,234,567");
}

TEST(Output, Money) {
  EXPECT_EQ(short_usd(0), "$0.00");
  EXPECT_EQ(short_usd(1), "<$0.0001");
  EXPECT_EQ(short_usd(31'249'999), "$0.0312");
  EXPECT_EQ(short_usd(31'250'000), "$0.0313");
  EXPECT_EQ(short_usd(12'500'000'000), "$12.50");
  EXPECT_EQ(short_usd(-12'500'000'000), "-$12.50");
  EXPECT_EQ(short_usd(1'234'567'890'000'000), "$1,234,567.89");
  EXPECT_EQ(short_usd(std::numeric_limits<std::int64_t>::min()), "-$9,223,372,036.85");
}

TEST(Output, Durations) {
  EXPECT_EQ(duration(12'000), "12 µs");
  EXPECT_EQ(duration(850'000'000), "850 ms");
  EXPECT_EQ(duration(12'340'000'000), "12.3 s");
  EXPECT_EQ(duration(250'000'000'000), "4 min 10 s");
  EXPECT_EQ(duration(11'100'000'000'000), "3 h 5 min");
  EXPECT_EQ(duration(187'200'000'000'000), "2 d 4 h");
}

TEST(Output, UnknownIsADashAndDoubtIsMarked) {
  api::Totals t;
  EXPECT_EQ(tokens_in(t), "–");
  EXPECT_EQ(cost(t), "–");
  t.set_input_tokens(0);
  t.set_cost_nano_usd(0);
  EXPECT_EQ(tokens_in(t), "0");
  EXPECT_EQ(cost(t), "$0.00");
  t.set_cost_nano_usd(2'000'000'000);
  t.set_unpriced_calls(1);
  t.set_estimated_calls(1);
  EXPECT_EQ(cost(t), "~$2.00+?");
  api::Losses l;
  EXPECT_EQ(losses(l), "");
  l.set_events_lost(1200);
  l.set_lost_bytes(5);
  EXPECT_EQ(losses(l), "1,200 events, 5 bytes");
}

TEST(Output, Percent) {
  EXPECT_EQ(percent(1, 0), "–");
  EXPECT_EQ(percent(std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::max()), "100%");
}

TEST(Output, ReadsWhatPeopleWrite) {
  EXPECT_EQ(*parse_number("200k"), 200'000u);
  EXPECT_FALSE(parse_number("-1"));
  EXPECT_FALSE(parse_number("lots"));
  EXPECT_EQ(parse_money("$2.50")->value, 2'500'000'000);
  EXPECT_FALSE(parse_money("-1"));
  EXPECT_FALSE(parse_money("1e3"));
}

}  // namespace
}  // namespace penstock::cli
