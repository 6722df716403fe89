// Alibaba Cloud Model Studio (DashScope): its own API under /api/v1, and the OpenAI-compatible mode. A stream of the
// former repeats the usage so far in every event, and says "null" for a finish reason while it goes on.
#include <algorithm>
#include <string_view>

#include "parsers/dialects/compatible.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"dashscope-intl.aliyuncs.com", "dashscope.aliyuncs.com",
                                       "dashscope-us.aliyuncs.com"};

class Service : public dialects::ModelCall {
 public:
  using ModelCall::ModelCall;

  bool request(Json body, model::Exchange& exchange) override {
    incremental_ = body["parameters"]["incremental_output"].as_bool() == true;
    return Decoder::request(body, exchange);
  }

  void event(const Event& event, model::Exchange& exchange) override {
    const Json body = event.json;
    if (!body.is_object()) return;
    dialects::take_string(body["request_id"], exchange.response_id);
    const Json output = body["output"];
    finish(output["finish_reason"], exchange);
    std::uint64_t text = output["text"].text_bytes();
    for (Json choice : output["choices"].items()) {
      finish(choice["finish_reason"], exchange);
      const Json message = choice["message"];
      text += message["content"].text_bytes() + message["reasoning_content"].text_bytes();
      for (Json call : message["tool_calls"].items()) add_call(call, exchange);
    }
    exchange.output_text_bytes =
        incremental_ ? exchange.output_text_bytes + text : std::max(exchange.output_text_bytes, text);
    dialects::take_openai_usage(body["usage"], exchange.usage);
    // Embeddings and reranking count the total only, and all of it is input.
    if (operation_ != "chat") dialects::take(exchange.usage.input_tokens, body["usage"]["total_tokens"].as_count());
    if (exchange.stream) settled_ = exchange.finish_reason ? Settled::kAtEnd : Settled::kNo;
  }

 private:
  static void finish(Json reason, model::Exchange& exchange) {
    if (const auto text = dialects::string_of(reason); text && !text->empty() && *text != "null")
      exchange.finish_reason = std::string(*text);
  }

  // Each event of a stream repeats the calls so far, or their next fragments.
  static void add_call(Json call, model::Exchange& exchange) {
    const model::CallId id = dialects::call_id(call["id"]);
    const auto name = dialects::string_of(call["function"]["name"]);
    if (!name || name->empty()) return;
    for (const model::ToolCall& known : exchange.tool_calls)
      if (known.id == id) return;
    dialects::add_tool_call(exchange, id, *name);
  }

  bool incremental_ = false;
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  const dialects::Segments path(head.path);
  if (head.method == "POST" && path.contains("services")) {
    const bool streamed = head.header("x-dashscope-sse") == "enable";
    const std::string_view family = path.after("services");
    if (family == "embeddings") return std::make_unique<Service>("embeddings");
    if (family == "rerank") return std::make_unique<Service>("rerank");
    if (path.tail(0) == "generation") return std::make_unique<Service>("chat", "", streamed);
    return nullptr;  // pictures, sound, video: tasks without tokens
  }
  return dialects::open_compatible(head);
}

}  // namespace

extern const Provider k_alibaba;
const Provider k_alibaba{
    .name = "alibaba",
    .hosts = kHosts,
    .open = open,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
