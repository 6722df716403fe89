#include "parsers/providers/self_hosted/native.h"

#include <algorithm>
#include <string_view>

#include "parsers/dialects/delegate.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/tgi.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers::self_hosted {
namespace {

// {text or input_ids, sampling_params} in; {text, meta_info} out, in an array for several prompts. The text and the
// counters of a stream are those so far.
class SgLang final : public dialects::ModelCall {
 public:
  SgLang() : ModelCall("text_completion") {}

  bool request(Json body, model::Exchange& exchange) override {
    Decoder::request(body, exchange);
    // Speech servers also take a text there.
    const bool samples = body["sampling_params"].exists() || body["stream"].as_bool().has_value();
    return body["input_ids"].exists() || (body["text"].exists() && samples);
  }

  void event(const Event& event, model::Exchange& exchange) override {
    if (event.data == "[DONE]") {
      settled_ = Settled::kYes;
      return;
    }
    // An array comes element by element, the answers to several prompts; an event replaces the one before.
    if (exchange.stream) {
      exchange.output_text_bytes = 0;
      exchange.usage = {};
    }
    read(event.json, exchange);
    if (exchange.stream) settled_ = exchange.finish_reason ? Settled::kAtEnd : Settled::kNo;
  }

 private:
  static void read(Json body, model::Exchange& exchange) {
    exchange.output_text_bytes += body["text"].text_bytes();
    const Json meta = body["meta_info"];
    if (!meta.is_object() || !meta.complete()) return;
    dialects::take_string(meta["id"], exchange.response_id);
    for (Json reason : {meta["finish_reason"], meta["finish_reason"]["type"]})
      if (const auto text = dialects::string_of(reason)) exchange.finish_reason = std::string(*text);
    model::Usage& usage = exchange.usage;
    usage.input_tokens = dialects::sum(usage.input_tokens, meta["prompt_tokens"].as_count());
    usage.output_tokens = dialects::sum(usage.output_tokens, meta["completion_tokens"].as_count());
    usage.cache_read_tokens = dialects::sum(usage.cache_read_tokens, meta["cached_tokens"].as_count());
  }
};

// {prompt} in; {content, tokens_evaluated, tokens_predicted, stop_type} out, or events of which the last one says
// `stop`.
class LlamaCpp final : public dialects::ModelCall {
 public:
  LlamaCpp() : ModelCall("text_completion") {}

  bool request(Json body, model::Exchange& exchange) override {
    Decoder::request(body, exchange);
    return body["prompt"].exists() || body["input_prefix"].exists();
  }

  void event(const Event& event, model::Exchange& exchange) override {
    const Json body = event.json;
    dialects::take_string(body["model"], exchange.response_model);
    exchange.output_text_bytes += body["content"].text_bytes();
    if (const auto reason = dialects::string_of(body["stop_type"]); reason && *reason != "none")
      exchange.finish_reason = std::string(*reason);
    dialects::take(exchange.usage.input_tokens, body["tokens_evaluated"].as_count());
    dialects::take(exchange.usage.output_tokens, body["tokens_predicted"].as_count());
    dialects::take(exchange.usage.cache_read_tokens, body["timings"]["cache_n"].as_count());
    const bool last = body["stop"].as_bool() == true || event.kind == Event::Kind::kJson;
    settled_ = last ? Settled::kAtEnd : Settled::kNo;
  }
};

// Both TGI and SGLang answer to /generate: the body tells.
class Generate final : public dialects::Delegate {
 public:
  using Delegate::Delegate;

  bool request(Json body, model::Exchange& exchange) override {
    if (!body["inputs"].exists()) inner_ = std::make_unique<SgLang>();
    return Delegate::request(body, exchange);
  }
};

}  // namespace

std::unique_ptr<Decoder> open_native(const RequestHead& head) {
  if (head.method != "POST") return nullptr;
  const std::string_view last = dialects::Segments(head.path).tail(0);
  if (dialects::is_tgi(head)) {
    auto tgi = dialects::make_tgi(head);
    return last == "generate" ? std::make_unique<Generate>(std::move(tgi)) : std::move(tgi);
  }
  if (last == "completion" || last == "infill") return std::make_unique<LlamaCpp>();
  return nullptr;
}

}  // namespace penstock::parsers::providers::self_hosted
