#include <gtest/gtest.h>

#include <limits>

#include "userspace/model/money.h"
#include "userspace/model/names.h"

namespace penstock::model {
namespace {

TEST(Money, ParsesDecimalTextExactly) {
  EXPECT_EQ(parse_usd("2"), NanoUsd{2'000'000'000});
  EXPECT_EQ(parse_usd("$0.10"), NanoUsd{100'000'000});
  EXPECT_EQ(parse_usd("0.000000001"), NanoUsd{1});
  for (const char* bad : {"", ".", "1.", ".5", "1e3", "-1", "0.0000000001", "99999999999", "1.2.3", "1 "})
    EXPECT_EQ(parse_usd(bad), std::nullopt) << bad;
}

TEST(Money, FormatsWithoutRounding) {
  EXPECT_EQ(format_usd({1'500'000'000}), "1.50");
  EXPECT_EQ(format_usd({1}), "0.000000001");
  EXPECT_EQ(format_usd({-250'000'000}), "-0.25");
  EXPECT_EQ(format_usd({std::numeric_limits<std::int64_t>::min()}), "-9223372036.854775808");
}

TEST(Money, SaturatesInsteadOfWrapping) {
  const NanoUsd max{std::numeric_limits<std::int64_t>::max()};
  EXPECT_EQ(max + NanoUsd{1}, max);
}

TEST(Names, RoundTrip) {
  EXPECT_EQ(name(Action::kCut), "cut");
  EXPECT_EQ(mode_from("strict"), Mode::kStrict);
  EXPECT_EQ(mode_from("loud"), std::nullopt);
}

}  // namespace
}  // namespace penstock::model
