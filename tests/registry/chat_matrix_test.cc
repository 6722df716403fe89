// Chat completions are spoken by nearly everybody: each way in which an answer may say what it took, at each provider.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

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

std::string usage(int total, const std::string& details = {}) {
  return R"(,"usage":{"prompt_tokens":100,"completion_tokens":40,"total_tokens":)" + std::to_string(total) + details +
         "}";
}

std::string answer(const std::string& message, const std::string& reason, const std::string& rest) {
  return R"({"model":"m","choices":[{"index":0,"message":)" + message + R"(,"finish_reason":")" + reason + "\"}]" +
         rest + "}";
}

std::string event(const std::string& body) { return "data: " + body + "\n\n"; }

// `reason`: a JSON value.
std::string chunk(const std::string& delta, const std::string& reason = "null", const std::string& rest = {}) {
  return event(R"({"model":"m","choices":[{"index":0,"delta":)" + delta + R"(,"finish_reason":)" + reason + "}]" +
               rest + "}");
}

std::string call(const std::string& id, const std::string& name, const std::string& arguments) {
  return R"("id":")" + id + R"(","type":"function","function":{"name":")" + name + R"(","arguments":")" + arguments +
         "\"}";
}

struct Cell {
  std::string name;
  bool stream;
  int status;
  std::string body;
  std::string expected;
};

std::vector<Cell> cells() {
  const std::string hi = R"({"content":"Hi"})";
  const std::string thought = R"(,"completion_tokens_details":{"reasoning_tokens":30})";
  const std::string cached = R"(,"prompt_tokens_details":{"cached_tokens":64})";
  const std::string calls = "{\"tool_calls\":[{" + call("c1", "f", "{}") + "},{" + call("c2", "g", "{}") + "}]}";
  const std::string done = event("[DONE]");
  return {
      {"plain", false, 200, answer(hi, "stop", usage(140)), "in=100 out=40 exact stop"},
      {"cached", false, 200, answer(hi, "stop", usage(140, cached)), "in=100 out=40 cached=64 exact stop"},
      {"reasoning inside", false, 200, answer(hi, "stop", usage(140, thought)), "in=100 out=40 thought=30 exact stop"},
      {"reasoning beside", false, 200, answer(hi, "stop", usage(170, thought)), "in=100 out=70 thought=30 exact stop"},
      {"tools", false, 200, answer(calls, "tool_calls", usage(140)), "in=100 out=40 exact tool_calls f/c1 g/c2"},
      {"error", false, 429, R"({"error":{"message":"slow","type":"rate_limit_error"}})",
       "unknown - 429:rate_limit_error"},
      {"stream, usage by itself", true, 200,
       chunk(hi) + chunk("{}", R"("stop")") + event(R"({"model":"m","choices":[])" + usage(140) + "}") + done,
       "in=100 out=40 exact stop stream"},
      {"stream, usage with the reason", true, 200, chunk(hi) + chunk("{}", R"("stop")", usage(140)),
       "in=100 out=40 exact stop stream"},
      {"stream without usage", true, 200, chunk(hi) + chunk("{}", R"("length")") + done, "unknown length stream"},
      {"stream of calls", true, 200,
       chunk(R"({"tool_calls":[{"index":0,)" + call("c1", "f", "{") + "}]}") +
           chunk(R"({"tool_calls":[{"index":0,"function":{"arguments":"}"}}]})") +
           chunk(R"({"tool_calls":[{"index":1,)" + call("c2", "g", "{}") + "}]}") +
           chunk("{}", R"("tool_calls")", usage(140)) + done,
       "in=100 out=40 exact tool_calls f/c1 g/c2 stream"},
      {"stream that fails", true, 200, chunk(hi) + event(R"({"error":{"message":"x","type":"server_error"}})"),
       "unknown - 200:server_error stream"},
  };
}

TEST(ChatMatrix, EveryProviderReadsEveryKindOfAnswer) {
  for (const parsers::Provider* provider : parsers::providers::registry()) {
    const std::string_view path = chat_path(provider->name);
    if (path.empty()) continue;
    for (const Cell& cell : cells()) {
      const std::string request = std::string(R"({"model":"m","model_id":"m","stream":)") +
                                  (cell.stream ? "true" : "false") +
                                  R"(,"messages":[{"role":"user","content":"Hello"}]})";
      const std::string type = cell.stream ? "text/event-stream" : "application/json";
      const std::string response =
          testing::with_length("HTTP/1.1 " + std::to_string(cell.status) + " -\r\nContent-Type: " + type, cell.body);
      const model::Exchange exchange = testing::called(*provider, path, request, response);
      EXPECT_EQ(exchange.provider, provider->name) << cell.name;
      EXPECT_EQ(described(exchange), cell.expected) << provider->name << ", " << cell.name;
    }
  }
}

}  // namespace
}  // namespace penstock
