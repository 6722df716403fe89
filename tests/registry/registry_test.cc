// A provider is one folder, and it is everywhere: whoever is in the generated registry is listed by `penstock
// providers` and on the page of the documentation, wins the requests to its hosts, and is a label of the metrics. (The
// fuzz target `session` and the golden tests walk the same registry.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "exporters/prometheus/prometheus.h"
#include "parsers/decode/decode.h"
#include "parsers/providers/registry.h"
#include "tests/registry/calling.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

std::string listed(const std::string& format) {
  CLI::App app;
  int exit_code = 0;
  parsers::decode::add_providers(app, exit_code);
  ::testing::internal::CaptureStdout();
  app.parse("providers -o " + format);
  return ::testing::internal::GetCapturedStdout();
}

TEST(Registry, EveryProviderIsListedRecognisedAndCounted) {
  const std::string table = listed("table"), lines = listed("jsonl"), page = listed("markdown");
  base::ManualClock clock{1, 0};
  const auto metrics = exporters::PrometheusExporter::make({}, clock);
  ASSERT_FALSE(parsers::providers::registry().empty());
  for (const parsers::Provider* provider : parsers::providers::registry()) {
    const std::string name(provider->name);
    EXPECT_THAT(table, HasSubstr("\n" + name + " "));
    EXPECT_THAT(lines, HasSubstr("\"name\":\"" + name + "\""));
    EXPECT_THAT(page, HasSubstr("| `" + name + "` |"));
    model::Exchange exchange = testing::called(*provider, "/v1/chat/completions",
                                               R"({"model":"m","messages":[{"role":"user","content":"Hello"}]})");
    EXPECT_EQ(exchange.provider, name);
    exchange.kind = model::Kind::kLlm;
    exchange.operation = "chat";
    exchange.status = 200;
    exchange.usage_status = model::UsageStatus::kExact;
    exchange.usage.input_tokens = 1;
    metrics->on_exchange(exchange);
  }
  const std::string rendered = metrics->render({});
  for (const parsers::Provider* provider : parsers::providers::registry()) {
    EXPECT_THAT(rendered, HasSubstr("gen_ai_provider_name=\"" + std::string(provider->name) + "\""));
    EXPECT_THAT(rendered, HasSubstr("provider=\"" + std::string(provider->name) + "\""));
  }
}

}  // namespace
}  // namespace penstock
