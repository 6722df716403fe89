// Ollama: its own API, which streams unless told otherwise (NDJSON, counters in the last line), and the
// OpenAI-compatible one under /v1. It runs on port 11434, or is known by its paths on a local address.
#include <string_view>

#include "parsers/dialects/compatible.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/hosts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"ollama.com"};
constexpr std::uint16_t kPort = 11434;

bool native(const dialects::Segments& path) {
  if (path.tail(1) != "api") return false;
  for (std::string_view name : {"chat", "generate", "embed", "embeddings"})
    if (path.tail(0) == name) return true;
  return false;
}

Claim claim(const RequestHead& head) {
  if (head.port == kPort) return Claim::kPort;
  return dialects::is_local(head.host) && native(dialects::Segments(head.path)) ? Claim::kPort : Claim::kNone;
}

class Native : public dialects::ModelCall {
 public:
  Native(std::string_view operation, bool generates) : ModelCall(operation, {}, generates) {}

  bool request(Json body, model::Exchange& exchange) override {
    Decoder::request(body, exchange);
    exchange.stream = streamed_ && body["stream"].as_bool().value_or(true);
    return true;
  }

  void event(const Event& event, model::Exchange& exchange) override {
    const Json line = event.json;
    if (!line.is_object()) return;
    dialects::take_string(line["model"], exchange.response_model);
    const Json message = line["message"];
    for (Json text : {message["content"], message["thinking"], line["response"], line["thinking"]})
      exchange.output_text_bytes += text.text_bytes();
    for (Json call : message["tool_calls"].items()) {
      exchange.output_text_bytes += dialects::generated_bytes(call["function"]["arguments"]);
      if (!call.complete()) continue;
      dialects::add_tool_call(exchange, dialects::call_id(call["id"]),
                              dialects::string_of(call["function"]["name"]).value_or(""));
    }
    if (const auto reason = dialects::string_of(line["done_reason"])) exchange.finish_reason = std::string(*reason);
    dialects::take(exchange.usage.input_tokens, line["prompt_eval_count"].as_count());
    dialects::take(exchange.usage.output_tokens, line["eval_count"].as_count());
    if (line["done"].as_bool() == true) settled_ = Settled::kYes;
  }
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  const dialects::Segments path(head.path);
  if (head.method == "POST" && native(path)) {
    if (path.tail(0) == "chat") return std::make_unique<Native>("chat", true);
    if (path.tail(0) == "generate") return std::make_unique<Native>("text_completion", true);
    return std::make_unique<Native>("embeddings", false);
  }
  return dialects::open_compatible(head);
}

}  // namespace

extern const Provider k_ollama;
const Provider k_ollama{
    .name = "ollama",
    .hosts = kHosts,
    .open = open,
    .claim = claim,
    .port = kPort,
};

}  // namespace penstock::parsers::providers
