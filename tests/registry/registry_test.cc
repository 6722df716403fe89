// A provider is one folder, and it is everywhere: whoever is in the generated registry is listed by `penstock
// providers` and on the page of the documentation, wins the requests to its hosts, and is a label of the metrics. (The
// fuzz target `session` and the golden tests walk the same registry.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "exporters/prometheus/prometheus.h"
#include "parsers/core/testing.h"
#include "parsers/decode/decode.h"
#include "parsers/providers/registry.h"
#include "parsers/session/session.h"

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

// A host of the provider: its first, with something in place of the wildcards. Those known by shape have a local
// address, or a name that nobody knows.
std::string host_of(const parsers::Provider& provider) {
  if (provider.hosts.empty()) return provider.name == "self_hosted" ? "127.0.0.1" : "llm.example.org";
  std::string host;
  for (const char c : provider.hosts[0]) host += c == '*' ? std::string("region") : std::string(1, c);
  return host;
}

model::Exchange called(const parsers::Provider& provider) {
  const std::string body = R"({"model":"m","messages":[{"role":"user","content":"Hello"}]})";
  const std::string request = "POST /v1/chat/completions HTTP/1.1\r\nHost: " + host_of(provider) +
                              "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
                              "\r\n\r\n" + body;
  parsers::testing::Completed collector;
  parsers::Endpoint endpoint;
  endpoint.port = 443;
  const auto parser = parsers::session::make_connection_parser(endpoint, false, collector);
  parser->feed(parsers::Direction::kToServer, 0,
               {reinterpret_cast<const std::uint8_t*>(request.data()), request.size()}, 1);
  parser->close(2);
  EXPECT_EQ(collector.exchanges.size(), 1U) << provider.name;
  return collector.exchanges.empty() ? model::Exchange{} : collector.exchanges[0];
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
    model::Exchange exchange = called(*provider);
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
