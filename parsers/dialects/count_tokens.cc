#include "parsers/dialects/count_tokens.h"

namespace penstock::parsers::dialects {
namespace {

class CountTokens final : public Decoder {
 public:
  explicit CountTokens(std::string model) : model_(std::move(model)) {}

  void start(const RequestHead&, model::Exchange& exchange) override {
    exchange.kind = model::Kind::kLlm;
    exchange.operation = "count_tokens";
    exchange.request_model = model_;
  }
  bool request(Json body, model::Exchange& exchange) override {
    return !model_.empty() || Decoder::request(body, exchange);
  }
  void event(const Event&, model::Exchange&) override {}

 private:
  std::string model_;
};

}  // namespace

std::unique_ptr<Decoder> make_count_tokens(std::string model) {
  return std::make_unique<CountTokens>(std::move(model));
}

}  // namespace penstock::parsers::dialects
