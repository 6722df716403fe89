// IBM watsonx.ai: generation, chat and embeddings under /ml. A stream repeats its counters, the prompt's only in the
// first event: the largest of each holds.
#include <algorithm>
#include <string_view>

#include "parsers/dialects/delegate.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"*.ml.cloud.ibm.com"};

void take_larger(dialects::Count& into, dialects::Count value) {
  if (value) into = std::max(into.value_or(0), *value);
}

class Generation : public dialects::ModelCall {
 public:
  Generation(std::string_view operation, bool streamed) : ModelCall(operation, {}, streamed) {}

  bool request(Json body, model::Exchange& exchange) override {
    dialects::take_string(body["model_id"], exchange.request_model);
    return true;
  }

  void event(const Event& event, model::Exchange& exchange) override {
    const Json body = event.json;
    dialects::take_string(body["model_id"], exchange.response_model);
    take_larger(exchange.usage.input_tokens, body["input_token_count"].as_count());  // embeddings, reranking
    for (Json result : body["results"].items()) {
      exchange.output_text_bytes += result["generated_text"].text_bytes();
      take_larger(exchange.usage.input_tokens, result["input_token_count"].as_count());
      take_larger(exchange.usage.output_tokens, result["generated_token_count"].as_count());
      const std::string_view reason = dialects::string_of(result["stop_reason"]).value_or("");
      if (reason.empty()) continue;
      const bool more = reason == "not_finished";
      settled_ = more ? Settled::kNo : Settled::kAtEnd;
      if (!more) exchange.finish_reason = std::string(reason);
    }
  }
};

// Chat completions that call the model model_id.
class Chat : public dialects::Delegate {
 public:
  explicit Chat(bool streamed) : Delegate(dialects::make_chat_completions()), streamed_(streamed) {}

  void start(const RequestHead& head, model::Exchange& exchange) override {
    Delegate::start(head, exchange);
    exchange.stream = streamed_;
  }
  bool request(Json body, model::Exchange& exchange) override {
    dialects::take_string(body["model_id"], exchange.request_model);
    return true;
  }
  void event(const Event& event, model::Exchange& exchange) override {
    Delegate::event(event, exchange);
    if (exchange.response_model.empty()) dialects::take_string(event.json["model_id"], exchange.response_model);
  }

 private:
  bool streamed_;
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  const dialects::Segments path(head.path);
  if (head.method != "POST" || !path.contains("ml")) return nullptr;
  const std::string_view last = path.tail(0);
  if (last == "chat" || last == "chat_stream") return std::make_unique<Chat>(last == "chat_stream");
  if (last == "embeddings") return std::make_unique<Generation>("embeddings", false);
  if (last == "rerank") return std::make_unique<Generation>("rerank", false);
  if (path.contains("generation") || last == "generation_stream")
    return std::make_unique<Generation>("text_completion", last.ends_with("_stream"));
  return nullptr;
}

}  // namespace

extern const Provider k_ibm_watsonx_ai;
const Provider k_ibm_watsonx_ai{
    .name = "ibm.watsonx.ai",
    .hosts = kHosts,
    .open = open,
};

}  // namespace penstock::parsers::providers
