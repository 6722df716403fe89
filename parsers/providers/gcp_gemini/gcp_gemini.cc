// The Gemini API: generateContent and its relatives, the Live API, Interactions, and chat completions under /openai,
// whose completion tokens leave out what was thought.
#include <string_view>

#include "parsers/dialects/delegate.h"
#include "parsers/dialects/gemini.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"generativelanguage.googleapis.com", "cloudcode-pa.googleapis.com",
                                       "*-cloudcode-pa.googleapis.com"};

// The total has the thoughts, no other counter does: it is the native API's prompt + candidates + thoughts.
class Compatible : public dialects::Delegate {
 public:
  using Delegate::Delegate;

  void event(const Event& event, model::Exchange& exchange) override {
    Delegate::event(event, exchange);
    model::Usage& usage = exchange.usage;
    if (!usage.input_tokens || !usage.output_tokens || !usage.reported_total_tokens) return;
    const dialects::Count said = dialects::sum(usage.input_tokens, usage.output_tokens);
    if (*usage.reported_total_tokens > *said) usage.output_tokens = *usage.reported_total_tokens - *usage.input_tokens;
  }
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
