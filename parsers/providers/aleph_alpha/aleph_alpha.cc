// Aleph Alpha: /complete, and chat completions.
#include <string_view>

#include "parsers/dialects/facts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"api.aleph-alpha.com"};

class Complete : public dialects::ModelCall {
 public:
  Complete() : ModelCall("text_completion") {}

  void event(const Event& event, model::Exchange& exchange) override {
    const Json body = event.json;
    dialects::take_string(body["model_version"], exchange.response_model);
    const Json first = body["completions"].at(0);
    if (const auto reason = dialects::string_of(first["finish_reason"])) exchange.finish_reason = std::string(*reason);
    for (Json one : body["completions"].items()) exchange.output_text_bytes += one["completion"].text_bytes();
    dialects::take(exchange.usage.input_tokens, body["num_tokens_prompt_total"].as_count());
    dialects::take(exchange.usage.output_tokens, body["num_tokens_generated"].as_count());
  }
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  if (head.method == "POST" && dialects::Segments(head.path).tail(0) == "complete") return std::make_unique<Complete>();
  return dialects::open_openai(head);
}

}  // namespace

extern const Provider k_aleph_alpha;
const Provider k_aleph_alpha{
    .name = "aleph_alpha",
    .hosts = kHosts,
    .open = open,
};

}  // namespace penstock::parsers::providers
