// A decoder that leaves the reading to another one: a provider overrides what it does differently.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

class Delegate : public Decoder {
 public:
  explicit Delegate(std::unique_ptr<Decoder> inner) : inner_(std::move(inner)) {}

  void start(const RequestHead& head, model::Exchange& exchange) override { inner_->start(head, exchange); }
  bool request(Json body, model::Exchange& exchange) override { return inner_->request(body, exchange); }
  void request_field(std::string_view name, std::string_view value, model::Exchange& exchange) override {
    inner_->request_field(name, value, exchange);
  }
  void request_message(std::string_view piece, bool last, model::Exchange& exchange) override {
    inner_->request_message(piece, last, exchange);
  }
  void response(const ResponseHead& head, model::Exchange& exchange) override { inner_->response(head, exchange); }
  wire::json::DigestOptions response_options() override { return inner_->response_options(); }
  void event(const Event& event, model::Exchange& exchange) override {
    inner_->event(event, exchange);
    settled_ = inner_->settled();
  }
  void end(bool whole, model::Exchange& exchange) override { inner_->end(whole, exchange); }

 protected:
  std::unique_ptr<Decoder> inner_;  // never null
};

}  // namespace penstock::parsers::dialects
