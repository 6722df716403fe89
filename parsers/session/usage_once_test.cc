#include "parsers/session/usage_once.h"

#include <gtest/gtest.h>

namespace penstock::parsers::session {
namespace {

model::Exchange answer(std::string method, std::string host, std::string id, std::uint64_t output) {
  model::Exchange exchange;
  exchange.kind = model::Kind::kLlm;
  exchange.method = std::move(method);
  exchange.host = std::move(host);
  exchange.response_id = std::move(id);
  exchange.usage.output_tokens = output;
  exchange.usage_status = model::UsageStatus::kExact;
  return exchange;
}

TEST(UsageOnceTest, APollRepeats) {
  UsageOnce once;
  model::Exchange created = answer("POST", "api.openai.com", "resp_1", 7),
                  polled = answer("GET", "api.openai.com", "resp_1", 7);
  EXPECT_FALSE(once.apply(created));
  EXPECT_TRUE(once.apply(polled));
  EXPECT_EQ(model::Usage{}, polled.usage);
  EXPECT_EQ(model::UsageStatus::kUnknown, polled.usage_status);
}

TEST(UsageOnceTest, ABackgroundAnswerIsCountedWhenItIsFetched) {
  UsageOnce once;
  model::Exchange queued = answer("POST", "api.openai.com", "resp_2", 0),
                  done = answer("GET", "api.openai.com", "resp_2", 9);
  queued.usage = {};
  queued.usage_status = model::UsageStatus::kUnknown;
  EXPECT_FALSE(once.apply(queued));
  EXPECT_FALSE(once.apply(done));
  EXPECT_EQ(9u, done.usage.output_tokens);
}

TEST(UsageOnceTest, AGatewayHopRepeats) {
  UsageOnce once;
  model::Exchange inner = answer("POST", "api.openai.com", "chatcmpl-a", 7),
                  outer = answer("POST", "localhost", "chatcmpl-a", 7);
  EXPECT_FALSE(once.apply(inner));
  EXPECT_TRUE(once.apply(outer));
}

TEST(UsageOnceTest, AServerWithOneIdForAllIsCountedEveryTime) {
  UsageOnce once;
  for (int i = 0; i < 3; ++i) {
    model::Exchange exchange = answer("POST", "localhost", "chatcmpl-fixed", 7);
    EXPECT_FALSE(once.apply(exchange));
  }
}

TEST(UsageOnceTest, ForgetsTheOldest) {
  UsageOnce once(2);
  for (const char* id : {"a", "b", "c"}) {
    model::Exchange exchange = answer("POST", "h", id, 1);
    once.apply(exchange);
  }
  model::Exchange forgotten = answer("GET", "h", "a", 1), kept = answer("GET", "h", "c", 1);
  EXPECT_FALSE(once.apply(forgotten));
  EXPECT_TRUE(once.apply(kept));
}

}  // namespace
}  // namespace penstock::parsers::session
