#include "parsers/dialects/rerank.h"

#include "parsers/dialects/facts.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::dialects {
namespace {

class Rerank : public Decoder {
 public:
  void start(const RequestHead&, model::Exchange& exchange) override {
    exchange.kind = model::Kind::kLlm;
    exchange.operation = "rerank";
  }

  void event(const Event& event, model::Exchange& exchange) override {
    take_string(event.json["model"], exchange.response_model);
    take_string(event.json["id"], exchange.response_id);
    const Json usage = event.json["usage"];
    if (!usage.is_object()) return;
    take(exchange.usage.input_tokens, usage["prompt_tokens"].as_count());
    take(exchange.usage.reported_total_tokens, usage["total_tokens"].as_count());
  }
};

}  // namespace

std::unique_ptr<Decoder> make_rerank() { return std::make_unique<Rerank>(); }

}  // namespace penstock::parsers::dialects
