// A call to a model of which the URL tells the operation, and perhaps the model and whether its answer is streamed.
#pragma once

#include <string>
#include <string_view>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

class ModelCall : public Decoder {
 public:
  // `model` empty: the body names it.
  explicit ModelCall(std::string_view operation, std::string model = {}, bool streamed = false)
      : operation_(operation), model_(std::move(model)), streamed_(streamed) {}

  void start(const RequestHead&, model::Exchange& exchange) override {
    exchange.kind = model::Kind::kLlm;
    exchange.operation = operation_;
    exchange.request_model = model_;
    exchange.stream = streamed_;
  }

 protected:
  const std::string_view operation_;  // a literal
  const std::string model_;
  const bool streamed_;
};

}  // namespace penstock::parsers::dialects
