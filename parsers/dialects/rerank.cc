#include "parsers/dialects/rerank.h"

#include "parsers/dialects/facts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::dialects {
namespace {

class Rerank : public ModelCall {
 public:
  explicit Rerank(bool strict) : ModelCall("rerank"), strict_(strict) {}

  bool request(Json body, model::Exchange& exchange) override {
    if (strict_ && !(body["query"].exists() && body["documents"].is_array())) return false;
    return Decoder::request(body, exchange);
  }

  void event(const Event& event, model::Exchange& exchange) override {
    take_string(event.json["model"], exchange.response_model);
    take_string(event.json["id"], exchange.response_id);
    const Json usage = event.json["usage"];
    if (!usage.is_object()) return;
    take(exchange.usage.input_tokens, usage["prompt_tokens"].as_count());
    take(exchange.usage.reported_total_tokens, usage["total_tokens"].as_count());
  }

 private:
  bool strict_;
};

}  // namespace

std::unique_ptr<Decoder> make_rerank(bool strict) { return std::make_unique<Rerank>(strict); }

}  // namespace penstock::parsers::dialects
