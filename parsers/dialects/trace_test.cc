#include "parsers/dialects/trace.h"

#include <gtest/gtest.h>

namespace penstock::parsers::dialects {
namespace {

constexpr std::string_view kTrace = "0af7651916cd43dd8448eb211c80319c", kParent = "b7ad6b7169203331";

std::string context(std::string_view version, std::string_view rest) {
  return std::string(version) + "-" + std::string(kTrace) + "-" + std::string(kParent) + std::string(rest);
}

TEST(TraceTest, ReadsTheContextOfTheCaller) {
  model::TraceContext trace;
  take_traceparent(context("00", "-01"), trace);
  EXPECT_EQ((model::TraceContext{std::string(kTrace), std::string(kParent), true}), trace);
  take_traceparent(context("00", "-02"), trace);
  EXPECT_FALSE(trace.sampled);
  model::TraceContext later;
  take_traceparent(context("cc", "-01-what-a-later-version-adds"), later);
  EXPECT_EQ(kTrace, later.trace_id);
}

TEST(TraceTest, RefusesWhatIsNone) {
  for (const std::string& text : {std::string(), std::string(55, '-'), context("ff", "-01"), context("00", "-01-more"),
                                  context("01", "-01.more"), context("00", "-0"), context("00", "-0g"),
                                  std::string("00-00000000000000000000000000000000-b7ad6b7169203331-01"),
                                  std::string("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"),
                                  std::string("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01")}) {
    model::TraceContext trace;
    take_traceparent(text, trace);
    EXPECT_EQ(model::TraceContext(), trace) << text;
  }
}

}  // namespace
}  // namespace penstock::parsers::dialects
