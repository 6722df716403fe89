#include "parsers/dialects/count_tokens.h"
#include "parsers/dialects/model_call.h"

namespace penstock::parsers::dialects {
namespace {

class CountTokens final : public ModelCall {
 public:
  explicit CountTokens(std::string model) : ModelCall("count_tokens", std::move(model)) {}

  bool request(Json body, model::Exchange& exchange) override {
    return !model_.empty() || Decoder::request(body, exchange);
  }
  void event(const Event&, model::Exchange&) override {}
};

}  // namespace

std::unique_ptr<Decoder> make_count_tokens(std::string model) {
  return std::make_unique<CountTokens>(std::move(model));
}

}  // namespace penstock::parsers::dialects
