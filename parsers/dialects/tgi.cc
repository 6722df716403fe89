#include "parsers/dialects/tgi.h"

#include "parsers/dialects/facts.h"
#include "parsers/dialects/hosts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::dialects {
namespace {

// {inputs, parameters} in; {generated_text, details} out, in an array from older servers. Of a stream only the last
// event has details. The prompt is counted only if `details.prefill` was asked for; of a plain answer header fields
// say both counts.
class Tgi : public ModelCall {
 public:
  explicit Tgi(bool streamed) : ModelCall("text_completion", {}, streamed) {}

  bool request(Json body, model::Exchange& exchange) override {
    Decoder::request(body, exchange);
    return body["inputs"].exists();
  }

  void response(const ResponseHead& head, model::Exchange&) override {
    prompt_ = wire::json::to_uint(head.header("x-prompt-tokens"));
    generated_ = wire::json::to_uint(head.header("x-generated-tokens"));
  }

  void end(bool, model::Exchange& exchange) override {
    if (!exchange.usage.input_tokens) exchange.usage.input_tokens = prompt_;
    if (!exchange.usage.output_tokens) exchange.usage.output_tokens = generated_;
  }

  void event(const Event& event, model::Exchange& exchange) override {
    const Json body = event.json;
    exchange.output_text_bytes += body["token"]["text"].text_bytes();
    const bool streamed = event.kind != Event::Kind::kJson;
    if (!streamed) exchange.output_text_bytes += body["generated_text"].text_bytes();
    const Json details = body["details"];
    if (!details.is_object() || !details.complete()) return;
    if (const auto reason = string_of(details["finish_reason"])) exchange.finish_reason = std::string(*reason);
    take(exchange.usage.output_tokens, details["generated_tokens"].as_count());
    if (details["prefill"].is_array() && details["prefill"].size() != 0)
      take(exchange.usage.input_tokens, details["prefill"].size());
    take(exchange.usage.input_tokens, details["input_length"].as_count());
    if (streamed) settled_ = Settled::kYes;
  }

 private:
  Count prompt_, generated_;
};

}  // namespace

bool is_huggingface(std::string_view host) { return claim_by_host(kHuggingFaceHosts, host) != Claim::kNone; }

bool is_tgi(const RequestHead& head) {
  if (head.method != "POST") return false;
  const Segments path(head.path);
  return path.tail(0) == "generate_stream" || (path.tail(0) == "generate" && path.tail(1) != "api");
}

std::unique_ptr<Decoder> make_tgi(const RequestHead& head) {
  return std::make_unique<Tgi>(Segments(head.path).tail(0) == "generate_stream");
}

}  // namespace penstock::parsers::dialects
