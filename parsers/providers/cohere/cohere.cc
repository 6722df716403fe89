// Cohere: chat (v1 and v2), generate, embed, rerank. `tokens` counts the prompt as templated, `billed_units` what is
// charged; the former is the usage, the latter stands in where it is missing. Version 1 streams NDJSON or events and
// gives its calls no ids. No answer names the model.
#include <string_view>

#include "parsers/dialects/facts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"api.cohere.com", "api.cohere.ai"};

class Cohere : public dialects::ModelCall {
 public:
  using ModelCall::ModelCall;

  bool request(Json body, model::Exchange& exchange) override {
    dialects::take_string(body["conversation_id"], exchange.conversation_id);
    for (Json result : body["tool_results"].items())
      if (result["call"].is_object()) dialects::add_tool_result(exchange.request, {});
    return Decoder::request(body, exchange);
  }

  void event(const Event& event, model::Exchange& exchange) override {
    const Json body = event.json;
    // Version 2 says `type`, version 1 `event_type`; a plain answer is its own end.
    const std::string_view type = body["type"].string_or(body["event_type"].string_or(""));
    if (type.empty()) {
      answer(body, exchange);
    } else if (type == "message-start") {
      dialects::take_string(body["id"], exchange.response_id);
    } else if (type == "content-delta") {
      for (std::string_view key : {"text", "thinking"})
        exchange.output_text_bytes += body["delta"]["message"]["content"][key].text_bytes();
    } else if (type == "tool-call-start") {
      call(body["delta"]["message"]["tool_calls"], exchange);
    } else if (type == "tool-call-delta") {
      exchange.output_text_bytes += body["delta"]["message"]["tool_calls"]["function"]["arguments"].text_bytes();
    } else if (type == "message-end") {
      answer(body["delta"], exchange);
      settled_ = Settled::kYes;
    } else if (type == "text-generation") {
      exchange.output_text_bytes += body["text"].text_bytes();
    } else if (type == "tool-calls-generation") {
      for (Json one : body["tool_calls"].items()) call(one, exchange);
    } else if (type == "stream-end") {
      // The response repeats the calls that came before it.
      exchange.tool_calls.clear();
      answer(body["response"], exchange);
      finish(body, exchange);
      settled_ = Settled::kYes;
    }
  }

 private:
  static void call(Json call, model::Exchange& exchange) {
    if (!call.complete()) return;
    const Json name = call["function"].is_object() ? call["function"]["name"] : call["name"];
    dialects::add_tool_call(exchange, dialects::call_id(call["id"]), dialects::string_of(name).value_or(""));
  }

  static void finish(Json body, model::Exchange& exchange) {
    if (const auto reason = dialects::string_of(body["finish_reason"])) exchange.finish_reason = std::string(*reason);
  }

  static void answer(Json body, model::Exchange& exchange) {
    for (std::string_view key : {"id", "generation_id", "response_id"})
      dialects::take_string(body[key], exchange.response_id);
    finish(body["generations"].at(0), exchange);
    finish(body, exchange);
    exchange.output_text_bytes =
        std::max(exchange.output_text_bytes, body["message"]["content"].text_bytes() + body["text"].text_bytes());
    for (Json one : body["message"]["tool_calls"].items()) call(one, exchange);
    for (Json one : body["tool_calls"].items()) call(one, exchange);
    usage(body["usage"].is_object() ? body["usage"] : body["meta"], exchange.usage);
    // The last line of a streamed /v1/generate.
    usage(body["response"]["meta"], exchange.usage);
  }

  static void usage(Json usage, model::Usage& into) {
    if (!usage.is_object() || !usage.complete()) return;
    const Json tokens = usage["tokens"].is_object() ? usage["tokens"] : usage["billed_units"];
    dialects::take(into.input_tokens, tokens["input_tokens"].as_count());
    dialects::take(into.output_tokens, tokens["output_tokens"].as_count());
    dialects::take(into.reasoning_tokens, tokens["reasoning_tokens"].as_count());
    dialects::take(into.cache_read_tokens, usage["cached_tokens"].as_count());
  }
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  if (head.method != "POST") return nullptr;
  const dialects::Segments path(head.path);
  if (path.contains("compatibility")) return dialects::open_openai(head);
  const std::string_view last = path.tail(0);
  if (last == "chat") return std::make_unique<Cohere>("chat");
  if (last == "generate") return std::make_unique<Cohere>("text_completion");
  if (last == "embed") return std::make_unique<Cohere>("embeddings");
  if (last == "rerank") return std::make_unique<Cohere>("rerank");
  return nullptr;
}

}  // namespace

extern const Provider k_cohere;
const Provider k_cohere{
    .name = "cohere",
    .hosts = kHosts,
    .open = open,
};

}  // namespace penstock::parsers::providers
