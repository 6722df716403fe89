// Chat completions are spoken by nearly everybody: each way in which an answer may say what it took, at each provider.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>

#include "parsers/providers/registry.h"
#include "tests/registry/calling.h"
#include "userspace/model/names.h"

namespace penstock {
namespace {

// Where it is not /v1/chat/completions; empty: it is not spoken.
std::string_view chat_path(std::string_view provider) {
  static const std::map<std::string_view, std::string_view> kPaths = {
      {"aws.sagemaker", "/endpoints/e/invocations"},
      {"cohere", "/compatibility/v1/chat/completions"},
      {"databricks", "/serving-endpoints/chat/completions"},
      {"gcp.gemini", "/v1beta/openai/chat/completions"},
      {"ibm.watsonx.ai", "/ml/v1/text/chat"},
      {"replicate", ""},
      {"snowflake", "/api/v2/cortex/v1/chat/completions"},
      {"voyageai", ""},
      {"writer", "/v1/chat"},
  };
  const auto it = kPaths.find(provider);
  return it == kPaths.end() ? "/v1/chat/completions" : it->second;
}

std::string described(const model::Exchange& exchange) {
  std::string text;
  const auto count = [&text](std::string_view name, const std::optional<std::uint64_t>& value) {
    if (value) text += std::string(name) + "=" + std::to_string(*value) + " ";
  };
  count("in", exchange.usage.input_tokens);
  count("out", exchange.usage.output_tokens);
  count("cached", exchange.usage.cache_read_tokens);
  count("thought", exchange.usage.reasoning_tokens);
  text += std::string(model::name(exchange.usage_status)) + " " + exchange.finish_reason.value_or("-");
  for (const model::ToolCall& call : exchange.tool_calls)
    text += " " + call.name + "/" + std::get<std::string>(call.id);
  if (exchange.error) text += " " + std::to_string(exchange.error->status) + ":" + exchange.error->type;
  return text + (exchange.stream ? " stream" : "");
}

#define CHOICE(MESSAGE, REASON) \
  R"("model":"m","choices":[{"index":0,"message":)" MESSAGE R"(,"finish_reason":")" REASON "\"}]"
#define CHUNK(DELTA, REASON) \
  "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":" DELTA ",\"finish_reason\":" REASON "}]"
#define USAGE(TOTAL, MORE) R"(,"usage":{"prompt_tokens":100,"completion_tokens":40,"total_tokens":)" TOTAL MORE "}"
#define DONE "data: [DONE]\n\n"

struct Cell {
  std::string_view name;
  bool stream;
  int status;
  std::string_view body;
  std::string_view expected;
};

constexpr Cell kCells[] = {
    {"plain", false, 200, "{" CHOICE(R"({"content":"Hi"})", "stop") USAGE("140", "") "}", "in=100 out=40 exact stop"},
    {"cached", false, 200,
     "{" CHOICE(R"({"content":"Hi"})", "stop") USAGE("140", R"(,"prompt_tokens_details":{"cached_tokens":64})") "}",
     "in=100 out=40 cached=64 exact stop"},
    {"reasoning inside", false, 200,
     "{" CHOICE(R"({"content":"Hi"})", "stop")
         USAGE("140", R"(,"completion_tokens_details":{"reasoning_tokens":30})") "}",
     "in=100 out=40 thought=30 exact stop"},
    {"reasoning beside", false, 200,
     "{" CHOICE(R"({"content":"Hi"})", "stop")
         USAGE("170", R"(,"completion_tokens_details":{"reasoning_tokens":30})") "}",
     "in=100 out=70 thought=30 exact stop"},
    {"tools", false, 200,
     "{" CHOICE(
         R"({"content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}},)"
         R"({"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]})",
         "tool_calls") USAGE("140", "") "}",
     "in=100 out=40 exact tool_calls f/c1 g/c2"},
    {"error", false, 429, R"({"error":{"message":"slow","type":"rate_limit_error"}})",
     "unknown - 429:rate_limit_error"},
    {"stream, usage by itself", true, 200,
     CHUNK(R"({"content":"Hi"})", "null") "}\n\n" CHUNK("{}", "\"stop\"") "}\n\n"
                                                                          "data: {\"model\":\"m\",\"choices\":[]" USAGE(
                                                                              "140", "") "}\n\n" DONE,
     "in=100 out=40 exact stop stream"},
    {"stream, usage with the reason", true, 200,
     CHUNK(R"({"content":"Hi"})", "null") "}\n\n" CHUNK("{}", "\"stop\"") USAGE("140", "") "}\n\n",
     "in=100 out=40 exact stop stream"},
    {"stream without usage", true, 200,
     CHUNK(R"({"content":"Hi"})", "null") "}\n\n" CHUNK("{}", "\"length\"") "}\n\n" DONE, "unknown length stream"},
    {"stream of calls", true, 200,
     CHUNK(
         R"({"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":"{"}}]})",
         "nul"
         "l") "}\n\n" CHUNK(R"({"tool_calls":[{"index":0,"function":{"arguments":"}"}}]})",
                            "null") "}\n\n" CHUNK(R"({"tool_calls":[{"index":1,"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]})",
                                                  "null") "}\n\n" CHUNK("{}", "\"tool_calls\"")
         USAGE("140", "") "}\n\n" DONE,
     "in=100 out=40 exact tool_calls f/c1 g/c2 stream"},
    {"stream that fails", true, 200,
     CHUNK(R"({"content":"Hi"})", "null") "}\n\ndata: {\"error\":{\"message\":\"x\",\"type\":\"server_error\"}}\n\n",
     "unknown - 200:server_error stream"},
};

TEST(ChatMatrix, EveryProviderReadsEveryKindOfAnswer) {
  for (const parsers::Provider* provider : parsers::providers::registry()) {
    const std::string_view path = chat_path(provider->name);
    if (path.empty()) continue;
    for (const Cell& cell : kCells) {
      const std::string request = std::string(R"({"model":"m","model_id":"m","stream":)") +
                                  (cell.stream ? "true" : "false") +
                                  R"(,"messages":[{"role":"user","content":"Hello"}]})";
      const std::string type = cell.stream ? "text/event-stream" : "application/json";
      const std::string answer =
          testing::with_length("HTTP/1.1 " + std::to_string(cell.status) + " -\r\nContent-Type: " + type, cell.body);
      const model::Exchange exchange = testing::called(*provider, path, request, answer);
      EXPECT_EQ(exchange.provider, provider->name) << cell.name;
      EXPECT_EQ(described(exchange), cell.expected) << provider->name << ", " << cell.name;
    }
  }
}

}  // namespace
}  // namespace penstock
