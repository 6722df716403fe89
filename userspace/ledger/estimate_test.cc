#include "userspace/ledger/estimate.h"

#include <gtest/gtest.h>

#include <random>

#include "userspace/ledger/price_tables.h"

namespace penstock::ledger {
namespace {

class EstimateTest : public ::testing::Test {
 protected:
  EstimateTest() : book(PriceBook::from_text(embedded_bundle(), "").value()), estimator({}, &book) {}
  static model::Exchange call(std::string name = "gpt-4.1") {
    model::Exchange e;
    e.kind = model::Kind::kLlm;
    e.provider = "openai";
    e.host = "api.openai.com";
    e.request_model = std::move(name);
    e.request.body_bytes = 10'000;
    e.request.text_bytes = 8'000;
    e.timing.start_real_ns = 1'787'270'400'000'000'000;
    return e;
  }
  static model::Exchange answered(std::string name, std::uint64_t input, std::uint64_t output) {
    model::Exchange e = call(std::move(name));
    e.status = 200;
    e.usage_status = model::UsageStatus::kExact;
    e.usage.input_tokens = input;
    e.usage.output_tokens = output;
    return e;
  }
  PriceBook book;
  Estimator estimator;
};

TEST_F(EstimateTest, OutputComesFromTheBestKnownBound) {
  auto e = call();
  e.request.max_output_tokens = 500;
  e.request.choices = 3;
  auto t = estimator.tokens(e, false);
  EXPECT_EQ(t.output_tokens, 1500U);
  EXPECT_EQ(t.output_basis, OutputBasis::kRequested);
  e.request.max_output_tokens.reset();
  e.request.choices.reset();
  t = estimator.tokens(e, false);
  EXPECT_EQ(t.output_tokens, 32'768U);
  EXPECT_EQ(t.output_basis, OutputBasis::kModelMax);
  for (int i = 0; i < 100; ++i) estimator.learn(answered("gpt-4.1", 2000, 100 + static_cast<std::uint64_t>(i)));
  t = estimator.tokens(e, false);
  EXPECT_EQ(t.output_basis, OutputBasis::kLearnt);
  EXPECT_GE(t.output_tokens, 198U);
  EXPECT_LE(t.output_tokens, 250U);
  EXPECT_EQ(estimator.tokens(e, true).output_tokens, 32'768U) << "a percentile is no bound";
  EXPECT_TRUE(estimator.tokens(e, true).bounded);
  auto unknown = call("who-knows");
  EXPECT_EQ(estimator.tokens(unknown, false).output_basis, OutputBasis::kConfigured);
  EXPECT_FALSE(estimator.tokens(unknown, true).bounded);
}

TEST_F(EstimateTest, InputRatioIsLearnt) {
  auto e = call();
  const std::uint64_t before = estimator.tokens(e, false).input_tokens;
  EXPECT_GT(before, 8000U / 6);
  EXPECT_LT(before, 8000U / 3);
  const std::uint64_t other_tokenizer = estimator.tokens(call("claude-sonnet-4-5"), false).input_tokens;
  for (int i = 0; i < 50; ++i) estimator.learn(answered("gpt-4.1", 4000, 10));  // two bytes per token
  EXPECT_NEAR(static_cast<double>(estimator.tokens(e, false).input_tokens), 4400, 2) << "and a tenth to be safe";
  EXPECT_NEAR(static_cast<double>(*estimator.expected_usage(e).input_tokens), 4000, 2);
  auto longer = call();
  longer.request.text_bytes *= 3;
  longer.request.body_bytes *= 3;
  EXPECT_GT(estimator.tokens(longer, false).input_tokens, 6000U) << "not only what was seen";
  EXPECT_NEAR(static_cast<double>(estimator.tokens(call("gpt-4.1-mini"), false).input_tokens), 4400, 2)
      << "the same tokenizer";
  EXPECT_EQ(estimator.tokens(call("claude-sonnet-4-5"), false).input_tokens, other_tokenizer);
}

// Whatever text is sent: a token covers a byte at least.
TEST_F(EstimateTest, StrictInputIsAnUpperBound) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 10'000; ++i) {
    auto e = call();
    e.request.body_bytes = random() % 3'000'000;
    e.request.text_bytes = e.request.body_bytes == 0 ? 0 : random() % e.request.body_bytes;
    const std::uint64_t most = std::min<std::uint64_t>(e.request.body_bytes, 1'047'576);
    ASSERT_GE(estimator.tokens(e, true).input_tokens, most);
    ASSERT_GE(estimator.tokens(e, true).input_tokens, estimator.tokens(e, false).input_tokens);
  }
  auto e = call();
  e.request.media_parts = 2;
  e.request.media_bytes = 9'000;
  EXPECT_GE(estimator.tokens(e, true).input_tokens, 100'000U);
  e = call();
  e.request.stored_context = true;
  EXPECT_FALSE(estimator.tokens(e, true).bounded);
  EXPECT_EQ(estimator.tokens(e, true).input_tokens, 1'047'576U);
  e = call();
  e.request.offered_tools = {"web_search_20250305"};
  EXPECT_FALSE(estimator.tokens(e, true).bounded);
}

TEST_F(EstimateTest, HostileFactsStayInRange) {
  auto e = call();
  e.request.body_bytes = e.request.text_bytes = e.request.media_bytes = e.request.media_parts = UINT64_MAX;
  e.request.max_output_tokens = UINT64_MAX;
  e.request.choices = UINT64_MAX;
  for (bool strict : {false, true}) {
    const Amounts a = estimator.reserve_amounts(e, strict);
    EXPECT_GT(a.tokens, 0U);
    ASSERT_TRUE(a.cost.has_value());
    EXPECT_GT(a.cost->value, 0);
  }
  e.request.choices = 0;
  EXPECT_GT(estimator.tokens(e, true).output_tokens, 0U);
  auto hostile = answered("gpt-4.1", UINT64_MAX, UINT64_MAX);
  for (int i = 0; i < 100; ++i) estimator.learn(hostile);
  EXPECT_LT(estimator.tokens(call(), false).input_tokens, 3000U);
}

TEST_F(EstimateTest, ProgressCountsWhatWasSeen) {
  auto e = call();
  e.output_text_bytes = 3600;
  const std::uint64_t input = *estimator.expected_usage(e).input_tokens;
  EXPECT_EQ(estimator.progress_amounts(e).tokens, input + 1000U);
  e.usage.input_tokens = 1500;
  e.usage.output_tokens = 4;  // Anthropic's first event
  EXPECT_EQ(estimator.progress_amounts(e).tokens, 2500U);
  EXPECT_EQ(estimator.progress_amounts(e).cost->value, 1500 * 2000 + 1000 * 8000);
  e.usage.output_tokens = 1200;
  EXPECT_EQ(estimator.progress_amounts(e).tokens, 2700U);
}

// Thinking that is not shown is billed: it is learnt as what the model adds on average to what is seen.
TEST_F(EstimateTest, HiddenReasoningIsExpected) {
  auto e = answered("gpt-5", 1000, 100 + 900);
  e.output_text_bytes = 420;
  const std::uint64_t before = *estimator.expected_usage(e).output_tokens;
  EXPECT_LT(before, 150U);
  e.usage.reasoning_tokens = 900;
  for (int i = 0; i < 100; ++i) estimator.learn(e);
  EXPECT_NEAR(static_cast<double>(*estimator.expected_usage(e).output_tokens), 1000, 20);
  e.usage = {};
  EXPECT_LT(estimator.progress_amounts(e).tokens, *estimator.expected_usage(e).input_tokens + 200U)
      << "no stream is cut for it";
  auto shown = answered("deepseek-reasoner", 1000, 1000);
  shown.output_text_bytes = 4200;
  shown.usage.reasoning_tokens = 900;
  for (int i = 0; i < 100; ++i) estimator.learn(shown);
  EXPECT_NEAR(static_cast<double>(*estimator.expected_usage(shown).output_tokens), 1000, 20) << "not counted twice";
}

// A family whose models think does not charge the one that does not for it.
TEST_F(EstimateTest, AModelsOwnAnswersTellWhetherItThinks) {
  auto thinks = answered("grok-4-reasoning", 1000, 100 + 900);
  thinks.output_text_bytes = 420;
  thinks.usage.reasoning_tokens = 900;
  for (int i = 0; i < 100; ++i) estimator.learn(thinks);
  auto plain = answered("grok-4-non-reasoning", 1000, 100);
  plain.output_text_bytes = 420;
  EXPECT_GT(*estimator.expected_usage(plain).output_tokens, 900U) << "nothing is known of it but its family";
  for (int i = 0; i < 8; ++i) estimator.learn(plain);
  EXPECT_LT(*estimator.expected_usage(plain).output_tokens, 220U);
}

TEST_F(EstimateTest, Settlements) {
  auto e = answered("gpt-4.1", 1000, 100);
  auto s = estimator.settlement(e);
  EXPECT_EQ(s.status, SettleStatus::kExact);
  EXPECT_EQ(s.amounts.tokens, 1100U);
  EXPECT_EQ(s.amounts.cost->value, 1000 * 2000 + 100 * 8000);

  e = call();
  e.status = 429;
  s = estimator.settlement(e);
  EXPECT_EQ(s.amounts.tokens, 0U);
  EXPECT_EQ(s.amounts.cost->value, 0);
  EXPECT_EQ(s.amounts.requests, 1U);

  e = call();  // an answer without usage
  e.status = 200;
  e.output_text_bytes = 360;
  s = estimator.settlement(e);
  EXPECT_EQ(s.status, SettleStatus::kEstimated);
  EXPECT_FALSE(s.upper);
  EXPECT_GT(s.amounts.tokens, 1600U);

  e.verdict.action = model::Action::kCut;
  EXPECT_TRUE(estimator.settlement(e).upper);
  EXPECT_TRUE(estimator.settlement(call()).upper) << "sent, and nothing came back";
  e = answered("gpt-4.1", 1000, 100);
  e.usage_status = model::UsageStatus::kIncomplete;
  EXPECT_TRUE(estimator.settlement(e).upper);
}

TEST_F(EstimateTest, NumberOfModelsIsBounded) {
  for (int i = 0; i < 10'000; ++i) estimator.learn(answered("m" + std::to_string(i), 1000, 10));
  for (int i = 0; i < 100; ++i) estimator.learn(answered("m1", 1000, 10));
  EXPECT_EQ(estimator.tokens(call("m1"), false).output_basis, OutputBasis::kLearnt);
  for (int i = 0; i < 100; ++i) estimator.learn(answered("m9999", 1000, 10));
  EXPECT_EQ(estimator.tokens(call("m9999"), false).output_basis, OutputBasis::kConfigured);
}

}  // namespace
}  // namespace penstock::ledger
