#include "userspace/ledger/prices.h"

#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <fstream>
#include <sstream>

#include "userspace/api/doc_page.h"
#include "userspace/api/prices.pb.h"
#include "userspace/api/yaml.h"
#include "userspace/ledger/price_tables.h"

namespace penstock::ledger {
namespace {

using S = model::PriceStatus;
constexpr std::int64_t kNano = 1'000'000'000;

std::int64_t at(std::string_view date) { return parse_date(date).value() * kNano; }

PriceBook book(std::string_view operator_yaml = {}, const std::vector<PriceBook::Endpoint>& endpoints = {}) {
  auto b = PriceBook::from_text(embedded_bundle(), operator_yaml, endpoints);
  EXPECT_TRUE(b.has_value()) << b.error().message();
  return std::move(b).value();
}

model::Exchange call(std::string provider, std::string host, std::string name, std::string_view date = "2026-08-21") {
  model::Exchange e;
  e.kind = model::Kind::kLlm;
  e.provider = std::move(provider);
  e.host = std::move(host);
  e.response_model = std::move(name);
  e.usage_status = model::UsageStatus::kExact;
  e.timing.start_real_ns = at(date);
  return e;
}
model::Exchange openai(std::string name) { return call("openai", "api.openai.com", std::move(name)); }
model::Exchange anthropic(std::string name) { return call("anthropic", "api.anthropic.com", std::move(name)); }

std::int64_t cost_of(const PriceBook& b, const model::Exchange& e) {
  const Cost c = b.cost(e);
  return c.amount ? c.amount->value : -1;
}

TEST(Rate, DecimalTextToNanoDollars) {
  const auto rate = [](std::string_view text) { return parse_rate(text).value_or(model::NanoUsdPerMillion{-1}).value; };
  EXPECT_EQ(rate("3"), 3 * kNano);
  EXPECT_EQ(rate("0.075"), 75'000'000);
  EXPECT_EQ(rate("1.25e-06"), 1250);
  EXPECT_EQ(rate("1.5E3"), 1500 * kNano);
  EXPECT_EQ(rate("0"), 0);
  EXPECT_EQ(rate(".5"), 500'000'000);
  // Half to even at the nano-dollar.
  EXPECT_EQ(rate("0.0000000005"), 0);
  EXPECT_EQ(rate("0.0000000015"), 2);
  EXPECT_EQ(rate("0.0000000025"), 2);
  EXPECT_EQ(rate("0.00000000250000000001"), 3);
  EXPECT_EQ(rate("0.18000000000000002"), 180'000'000);
  EXPECT_EQ(rate("2.9999900000000002"), 2'999'990'000);
  EXPECT_EQ(rate("0.99999999999"), kNano);
  EXPECT_EQ(rate("1e-30"), 0);
  for (const char* bad :
       {"", ".", "-1", "+1", "1,5", "1.2.3", "1e", "1e-", "nan", "0x10", "1e99", "99999999999999999999", " 1"})
    EXPECT_FALSE(parse_rate(bad).has_value()) << bad;
  bool rounded = false;
  parse_rate("0.18000000000000002", &rounded);
  EXPECT_TRUE(rounded);
  parse_rate("0.1800000000000000", &rounded);
  EXPECT_FALSE(rounded);
}

TEST(Bundle, IsPinnedAndDated) {
  std::ifstream pin(PENSTOCK_SOURCE_DIR "/data/prices/bundle.txt.sha256");
  std::string expected;
  pin >> expected;
  unsigned char digest[SHA256_DIGEST_LENGTH];
  const auto text = embedded_bundle();
  ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  std::ostringstream hex;
  for (unsigned char b : digest) hex << std::hex << (b >> 4) << (b & 15);
  EXPECT_EQ(hex.str(), expected);

  const PriceBook b = book();
  EXPECT_GT(b.bundle().models, 2000U);
  EXPECT_EQ(b.bundle().sources.size(), 2U);
  const std::int64_t date = at(b.bundle().date);
  EXPECT_FALSE(b.stale(date + 90LL * 86'400 * kNano));
  EXPECT_TRUE(b.stale(date + 91LL * 86'400 * kNano));
}

TEST(Bundle, ImplausibleRatesAreRefusedAndListed) {
  const PriceBook b = book();
  for (const std::string& r : b.bundle().refused) SCOPED_TRACE(r);
  auto own = PriceBook::from_text(
      "penstock-prices\t1\ndate\t2026-01-01\nprovider\tx\tnames=x\thosts=x.test\nmodel\tm\tequals="
      "m\nprice\tstandard\tinput=15000\toutput=1\n",
      "");
  ASSERT_TRUE(own.has_value());
  EXPECT_EQ(own->bundle().refused.size(), 1U);
  auto e = call("x", "x.test", "m");
  e.usage.input_tokens = 1;
  EXPECT_EQ(own->cost(e).status, S::kUnpriced);
}

TEST(Bundle, BrokenTextIsAnErrorWithALine) {
  for (const char* text :
       {"", "x", "penstock-prices\t2\n", "penstock-prices\t1\ndate\t2026-13-01\n", "penstock-prices\t1\nmodel\tm\n",
        "penstock-prices\t1\ndate\t2026-01-01\nprovider\tp\nmodel\tm\tequals=m\nprice\tstandard\tinput=x\n",
        "penstock-prices\t1\ndate\t2026-01-01\nprovider\tp\nmodel\tm\tequals=m\nprice\tgold\tinput=1\n"})
    EXPECT_FALSE(PriceBook::from_text(text, "").has_value()) << text;
}

TEST(Cost, RoundsUpOnce) {
  const PriceBook b = book();
  auto e = openai("gpt-4.1");
  e.usage.input_tokens = 1;  // 2 $/M
  EXPECT_EQ(cost_of(b, e), 2000);
  auto embedding = PriceBook::from_text(
      "penstock-prices\t1\ndate\t2026-01-01\nprovider\tx\tnames=x\thosts=x.test\nmodel\tm\tequals="
      "m\nprice\tstandard\tinput=0.0000001\toutput=0.0000001\n",
      "");
  auto tiny = call("x", "x.test", "m");
  tiny.usage.input_tokens = 1;
  tiny.usage.output_tokens = 1;
  EXPECT_EQ(cost_of(*embedding, tiny), 1)
      << "200 nano-dollars per million: two tokens cost less than one nano-dollar, not two";
}

TEST(Cost, SubsetsAreCarvedOut) {
  const PriceBook b = book();
  auto e = anthropic("claude-sonnet-4-5-20250929");
  e.usage.input_tokens = 10'000;
  e.usage.cache_read_tokens = 6'000;
  e.usage.cache_write_tokens = 3'000;
  e.usage.cache_write_1h_tokens = 1'000;
  e.usage.output_tokens = 2'000;
  e.usage.reasoning_tokens = 1'500;
  // 1000×3 + 6000×0.3 + 2000×3.75 + 1000×6 + 2000×15 dollars per million
  EXPECT_EQ(cost_of(b, e), 3'000'000 + 1'800'000 + 7'500'000 + 6'000'000 + 30'000'000);
  EXPECT_EQ(b.cost(e).status, S::kExact);
  e.usage.web_search_requests = 3;
  EXPECT_EQ(cost_of(b, e), 48'300'000 + 30'000'000);
}

TEST(Cost, StepsAreCliffs) {
  const PriceBook b = book();
  auto e = anthropic("claude-sonnet-4-5-20250929");
  e.usage.output_tokens = 1'000;
  e.usage.input_tokens = 200'000;
  EXPECT_EQ(cost_of(b, e), 200'000LL * 3000 + 1'000LL * 15'000);
  e.usage.input_tokens = 200'001;  // every token, output too
  EXPECT_EQ(cost_of(b, e), 200'001LL * 6000 + 1'000LL * 22'500);
}

TEST(Cost, ContradictingCountersAreEstimatedNeverNegative) {
  const PriceBook b = book();
  auto e = anthropic("claude-sonnet-4-5-20250929");
  e.usage.input_tokens = 100;
  e.usage.cache_read_tokens = 500;
  e.usage.cache_write_tokens = 500;
  e.usage.output_tokens = 10;
  e.usage.reasoning_tokens = 99;
  const Cost c = b.cost(e);
  EXPECT_EQ(c.status, S::kEstimated);
  EXPECT_EQ(c.amount->value, 100 * 300 + 10 * 15'000);
  e.usage.input_tokens = UINT64_MAX;
  e.usage.output_tokens = UINT64_MAX;
  e.usage.cache_read_tokens = UINT64_MAX;
  e.usage.cache_write_tokens = UINT64_MAX;
  EXPECT_GT(cost_of(b, e), 0);
  EXPECT_EQ(b.cost(e).status, S::kEstimated);
}

TEST(Cost, MissingCacheDiscountIsNotGuessed) {
  auto b = PriceBook::from_text(
      "penstock-prices\t1\ndate\t2026-01-01\nprovider\tx\tnames=x\thosts=x.test\nmodel\tm\tequals="
      "m\nprice\tstandard\tinput=2\toutput=4\n",
      "");
  auto e = call("x", "x.test", "m");
  e.usage.input_tokens = 1000;
  e.usage.cache_write_tokens = 300;
  e.usage.output_tokens = 10;
  EXPECT_EQ(b->cost(e).status, S::kExact);
  e.usage.cache_read_tokens = 500;
  EXPECT_EQ(b->cost(e).status, S::kEstimated);
  EXPECT_EQ(cost_of(*b, e), 1000 * 2000 + 10 * 4000);
}

TEST(Cost, UnknownUsageIsNoCost) {
  const PriceBook b = book();
  auto e = openai("gpt-4.1");
  EXPECT_FALSE(b.cost(e).amount.has_value());
  e.usage.output_tokens = 5;
  e.usage_status = model::UsageStatus::kEstimated;
  EXPECT_EQ(b.cost(e).status, S::kEstimated);
}

TEST(Cost, IterationsAreBilledByTheirModel) {
  const PriceBook b = book();
  auto e = anthropic("claude-sonnet-4-5-20250929");
  e.usage.input_tokens = 1000;
  e.usage.output_tokens = 0;
  model::Iteration pass;
  pass.usage.input_tokens = 50'000;
  e.iterations.push_back(pass);
  EXPECT_EQ(cost_of(b, e), 51'000 * 3000);
  e.iterations[0].model = "claude-opus-4-5";
  EXPECT_EQ(cost_of(b, e), 1000 * 3000 + 50'000 * 5000);
  e.iterations[0].model = "no-such-model";
  EXPECT_FALSE(b.cost(e).amount.has_value());
  EXPECT_EQ(b.cost(e).status, S::kUnpriced);
}

TEST(Lookup, Statuses) {
  const PriceBook b = book();
  const auto status = [&](model::Exchange e) { return b.lookup(e).status; };
  EXPECT_EQ(status(openai("gpt-5")), S::kExact);
  EXPECT_EQ(status(openai("GPT-5 ")), S::kExact);
  EXPECT_EQ(status(openai("gpt-5-2025-08-07")), S::kExact);
  EXPECT_EQ(status(anthropic("claude-sonnet-4-5-20250929")), S::kExact);
  EXPECT_EQ(status(anthropic("claude-sonnet-4-5-20991231")), S::kAlias) << "a pattern swallows future names";
  EXPECT_EQ(status(openai("gpt-4.1-2099-01-01")), S::kAlias) << "date cut off";
  EXPECT_EQ(status(openai("no-such-model")), S::kUnpriced);
  EXPECT_EQ(status(openai("")), S::kUnpriced);
  EXPECT_EQ(status(openai(std::string(100'000, '-'))), S::kUnpriced);
  EXPECT_EQ(status(call("openai", "llm.internal", "gpt-5")), S::kAlias) << "recognised by its shape only";
  EXPECT_EQ(status(call("", "api.openai.com", "gpt-5")), S::kExact) << "the host names the provider";
  EXPECT_EQ(status(call("anthropic", "api.openai.com", "gpt-5")), S::kExact);
  EXPECT_EQ(status(call("", "llm.internal", "gpt-5")), S::kUnpriced);
  EXPECT_EQ(b.lookup(call("azure.ai.openai", "x.openai.azure.com", "o3")).provider, "azure");
}

TEST(Lookup, EndpointsMakeAHostTheProviders) {
  const PriceBook b =
      book({}, {{"localhost", "openai", 8080}, {"localhost", "anthropic", 8081}, {"*.corp", "anthropic"}});
  auto local = call("openai", "localhost", "gpt-5");
  local.port = 8080;
  EXPECT_EQ(b.lookup(local).status, S::kExact);
  local.port = 8081;
  EXPECT_EQ(b.lookup(local).status, S::kUnpriced) << "the other port is another provider";
  local.port = 9999;
  EXPECT_EQ(b.lookup(local).status, S::kAlias);
  EXPECT_EQ(b.lookup(call("", "llm.corp", "claude-opus-4-5")).status, S::kExact);
}

TEST(Lookup, RequestModelWhenTheResponseHasNone) {
  const PriceBook b = book();
  auto e = openai("");
  e.request_model = "gpt-4.1";
  EXPECT_EQ(b.lookup(e).model, "gpt-4.1");
  e.response_model = "gpt-4.1-mini";
  EXPECT_EQ(b.lookup(e).model, "gpt-4.1-mini");
}

TEST(Lookup, FineTunes) {
  const PriceBook b = book();
  auto e = openai("ft:gpt-4.1-2025-04-14:acme::abc123");
  e.usage.input_tokens = 1'000'000;
  EXPECT_EQ(b.cost(e).status, S::kAlias);
  EXPECT_EQ(cost_of(b, e), 3 * kNano) << "dearer than its base";
  EXPECT_EQ(b.lookup(openai("ft:gpt-5-2025-08-07:acme::x")).status, S::kEstimated);
}

TEST(Lookup, BedrockNames) {
  const PriceBook b = book();
  const auto price = [&](std::string name) {
    auto e = call("aws.bedrock", "bedrock-runtime.us-east-1.amazonaws.com", std::move(name));
    e.usage.input_tokens = 1'000'000;
    e.usage.output_tokens = 0;
    return cost_of(b, e);
  };
  EXPECT_EQ(price("global.anthropic.claude-sonnet-4-20250514-v1:0"), 6 * kNano / 2);
  EXPECT_EQ(price("us.anthropic.claude-haiku-4-5-20251001-v1:0"), 1'100'000'000);
  EXPECT_EQ(price("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"), -1);
}

TEST(Lookup, DatesAndTimeOfDay) {
  const PriceBook b = book();
  const auto price = [&](model::Exchange e, std::int64_t when) {
    e.timing.start_real_ns = when;
    e.usage.input_tokens = 1'000'000;
    e.usage.output_tokens = 0;
    return cost_of(b, e);
  };
  EXPECT_EQ(price(openai("o3"), at("2025-06-10") - 1), 10 * kNano);
  EXPECT_EQ(price(openai("o3"), at("2025-06-10")), 2 * kNano);
  const auto deepseek = call("deepseek", "api.deepseek.com", "deepseek-reasoner");
  EXPECT_EQ(price(deepseek, at("2026-08-21") + 20 * 60 * kNano), 135'000'000);
  EXPECT_EQ(price(deepseek, at("2026-08-21") + 30 * 60 * kNano), 550'000'000);
}

TEST(Lookup, ServiceTiers) {
  const PriceBook b = book();
  auto e = openai("gpt-5");
  e.usage.input_tokens = 1'000'000;
  e.usage.cache_read_tokens = 0;
  const auto price = [&](std::string response, std::string request) {
    e.service_tier = std::move(response);
    e.request.service_tier = std::move(request);
    return std::pair(cost_of(b, e), b.cost(e).status);
  };
  EXPECT_EQ(price("", ""), std::pair(1'250'000'000L, S::kExact));
  EXPECT_EQ(price("default", "flex"), std::pair(1'250'000'000L, S::kExact)) << "the response decides";
  EXPECT_EQ(price("", "flex"), std::pair(625'000'000L, S::kExact));
  EXPECT_EQ(price("priority", ""), std::pair(2'500'000'000L, S::kExact));
  EXPECT_EQ(price("batch", ""), std::pair(1'250'000'000L, S::kEstimated))
      << "no batch price known: the discount is not guessed";
  EXPECT_EQ(price("ultra", ""), std::pair(1'250'000'000L, S::kEstimated));
}

TEST(Operator, AddsAndWins) {
  const PriceBook b = book(R"(
prices:
  - { provider: openai, model: gpt-5, host: api.openai.com, input: 1, output: 2 }
  - provider: internal
    model: [llama, llama-big]
    input: 0
    output: 0
  - provider: openai
    match: "corp-*"
    input: 4
    output: 8
    cache_read: 0.4
    above: [ { input_tokens: 200k, input: 8 } ]
    max_output_tokens: 9000
  - { provider: openai, match: "corp-*", tier: batch, input: 2, output: 4 }
  - { provider: openai, model: dear, input: 2000, pin: true }
aliases:
  - { provider: azure.ai.openai, host: "*.openai.azure.com", name: prod-chat, model: gpt-4.1, model_provider: openai }
)");
  auto e = openai("gpt-5");
  e.usage.input_tokens = 1'000'000;
  EXPECT_EQ(cost_of(b, e), kNano);
  EXPECT_EQ(b.cost(e).status, S::kExact);
  auto internal = call("internal", "llm.corp", "llama-big");
  internal.usage.input_tokens = 5;
  EXPECT_EQ(cost_of(b, internal), 0) << "0 is a price";
  EXPECT_EQ(b.cost(internal).status, S::kExact);
  auto corp = openai("Corp-X");
  corp.usage.input_tokens = 200'001;
  EXPECT_EQ(cost_of(b, corp), 200'001 * 8000);
  EXPECT_EQ(b.cost(corp).status, S::kAlias);
  EXPECT_EQ(b.max_output_tokens(corp), 9000U);
  corp.service_tier = "batch";
  corp.usage.input_tokens = 1000;
  EXPECT_EQ(cost_of(b, corp), 1000 * 2000);
  auto dear = openai("dear");
  dear.usage.input_tokens = 1;
  EXPECT_EQ(cost_of(b, dear), 2'000'000);
  auto azure = call("azure.ai.openai", "acme.openai.azure.com", "prod-chat");
  azure.usage.input_tokens = 1'000'000;
  EXPECT_EQ(cost_of(b, azure), 2 * kNano);
  EXPECT_EQ(b.cost(azure).status, S::kAlias);
}

TEST(Operator, ErrorsSayWhere) {
  const auto error = [](std::string_view yaml) {
    auto b = PriceBook::from_text(embedded_bundle(), yaml, {}, "prices.yaml");
    return b.has_value() ? std::string("accepted") : b.error().what;
  };
  EXPECT_EQ(error("prices:\n  - { provider: openai, model: a, input: 1, colour: red }\n").find("prices.yaml:2:"), 0U);
  EXPECT_EQ(error("prices:\n  - { provider: openai, model: a, input: -1 }\n").find("prices.yaml:2:"), 0U);
  EXPECT_EQ(error("prices:\n  - { provider: openai, model: a, input: 1001 }\n").find("prices.yaml:2:"), 0U);
  EXPECT_EQ(error("prices:\n  - { provider: openai, model: a }\n").find("prices.yaml:2:"), 0U);
  EXPECT_EQ(error("prices:\n  - { provider: openai, input: 1 }\n").find("prices.yaml:2:"), 0U);
  EXPECT_EQ(
      error("prices:\n  - provider: openai\n    model: a\n    input: 1\n    from: yesterday\n").find("prices.yaml:5:"),
      0U);
  EXPECT_EQ(error("aliases:\n  - { provider: x, name: a, model: b, model_provider: nobody }\n").find("prices.yaml:2:"),
            0U);
  EXPECT_NE(error("prices: [\n"), "accepted");
}

TEST(PricesPage, ExampleIsAccepted) {
  const api::DocPage page(PENSTOCK_SOURCE_DIR "/docs/prices.md");
  ASSERT_FALSE(page.yaml_blocks().empty());
  for (const std::string& example : page.yaml_blocks()) {
    auto b = PriceBook::from_text(embedded_bundle(), example, {}, "docs/prices.md");
    EXPECT_TRUE(b.has_value()) << b.error().message();
  }
}

TEST(PricesPage, HasEveryKey) {
  api::DocPage page(PENSTOCK_SOURCE_DIR "/docs/prices.md");
  const std::string expected = api::schema_markdown(*api::Prices::descriptor());
  EXPECT_EQ(page.generated(expected), expected) << "run this test once with PENSTOCK_WRITE_DOCS=1";
}

TEST(Estimate, UpperBoundIsNeverBelowTheBill) {
  const PriceBook b = book();
  std::uint64_t seed = 88172645463325252ULL;
  const auto random = [&](std::uint64_t below) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return below == 0 ? 0 : seed % below;
  };
  for (const char* name : {"claude-sonnet-4-5-20250929", "claude-opus-4-6", "claude-3-5-haiku-20241022"}) {
    for (int i = 0; i < 2000; ++i) {
      auto e = anthropic(name);
      const std::uint64_t most_input = random(500'000);
      const std::uint64_t most_output = random(50'000);
      const auto upper = b.estimate_upper(e, most_input, most_output, true);
      e.usage.input_tokens = random(most_input + 1);
      e.usage.output_tokens = random(most_output + 1);
      e.usage.cache_read_tokens = random(*e.usage.input_tokens + 1);
      e.usage.cache_write_tokens = random(*e.usage.input_tokens - *e.usage.cache_read_tokens + 1);
      e.usage.cache_write_1h_tokens = random(*e.usage.cache_write_tokens + 1);
      e.usage.reasoning_tokens = random(*e.usage.output_tokens + 1);
      ASSERT_LE(cost_of(b, e), upper.amount->value) << name;
    }
  }
  EXPECT_FALSE(b.estimate_upper(openai("no-such-model"), 1, 1).amount.has_value());
}

TEST(Search, FindsRowsInForceAndFuture) {
  const PriceBook b = book();
  auto rows = b.search("Claude-Sonnet-5", 100);
  std::erase_if(rows, [](const PriceListing& l) { return l.provider != "anthropic"; });
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].valid_from, "");
  EXPECT_EQ(rows[1].valid_from, "2026-09-01");
  EXPECT_TRUE(b.lists("claude-sonnet-5"));
  EXPECT_FALSE(b.lists("claude-sonnet")) << "a part of a name";
  EXPECT_EQ(b.search("", 7).size(), 7U);
  EXPECT_TRUE(b.search("no such model", 7).empty());
}

TEST(Bundle, EveryNameFindsItsModel) {
  PriceTables tables;
  ASSERT_TRUE(read_bundle(embedded_bundle(), tables).has_value());
  const PriceBook b = book();
  std::size_t names = 0;
  for (const PriceProvider& p : tables.providers) {
    ASSERT_FALSE(p.names.empty()) << p.id;
    for (const auto& [name, models] : p.bundle.equals) {
      model::Exchange e = call(p.names[0], "", name);
      e.usage.input_tokens = 1000;
      e.usage.output_tokens = 1000;
      const Quote q = b.lookup(e);
      ASSERT_NE(q.status, S::kUnpriced) << p.id << " " << name;
      ASSERT_EQ(q.model, tables.models[models[0]].label) << p.id << " " << name;
      ++names;
    }
  }
  EXPECT_GT(names, 2500U);
}

}  // namespace
}  // namespace penstock::ledger
