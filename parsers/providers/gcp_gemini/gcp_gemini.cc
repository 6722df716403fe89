// The Gemini API: generateContent and its relatives, the Live API, Interactions, and chat completions under /openai,
// whose completion tokens leave out what was thought.
#include <string_view>

#include "parsers/dialects/gemini.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"generativelanguage.googleapis.com", "cloudcode-pa.googleapis.com",
                                       "*-cloudcode-pa.googleapis.com"};

// The total has the thoughts, no other counter does: it is the native API's prompt + candidates + thoughts.
class Compatible : public Decoder {
 public:
  explicit Compatible(std::unique_ptr<Decoder> inner) : inner_(std::move(inner)) {}

  void start(const RequestHead& head, model::Exchange& exchange) override { inner_->start(head, exchange); }
  bool request(Json body, model::Exchange& exchange) override { return inner_->request(body, exchange); }
  void request_field(std::string_view name, std::string_view value, model::Exchange& exchange) override {
    inner_->request_field(name, value, exchange);
  }
  void event(const Event& event, model::Exchange& exchange) override {
    inner_->event(event, exchange);
    settled_ = inner_->settled();
    model::Usage& usage = exchange.usage;
    if (!usage.input_tokens || !usage.output_tokens || !usage.reported_total_tokens) return;
    const dialects::Count said = dialects::sum(usage.input_tokens, usage.output_tokens);
    if (*usage.reported_total_tokens > *said) usage.output_tokens = *usage.reported_total_tokens - *usage.input_tokens;
  }

 private:
  std::unique_ptr<Decoder> inner_;
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  if (dialects::Segments(head.path).contains("openai")) {
    auto decoder = dialects::open_openai(head);
    return decoder ? std::make_unique<Compatible>(std::move(decoder)) : nullptr;
  }
  return dialects::open_gemini(head);
}

}  // namespace

extern const Provider k_gcp_gemini;
const Provider k_gcp_gemini{
    .name = "gcp.gemini",
    .hosts = kHosts,
    .open = open,
    .converse = dialects::converse_gemini,
};

}  // namespace penstock::parsers::providers
