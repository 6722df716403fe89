#include "parsers/dialects/any_body.h"

#include "parsers/dialects/openai.h"
#include "parsers/dialects/openai_internal.h"
#include "parsers/dialects/tgi.h"

namespace penstock::parsers::dialects {
namespace {

class AnyBody : public Decoder {
 public:
  explicit AnyBody(std::string model) : model_(std::move(model)) {}

  void start(const RequestHead& head, model::Exchange& exchange) override {
    head_ = head;
    exchange.kind = model::Kind::kLlm;
    exchange.operation = "chat";
    exchange.request_model = model_;
  }

  bool request(Json body, model::Exchange& exchange) override {
    if (body["messages"].is_array()) {
      inner_ = make_chat("chat", false);
    } else if (body["prompt"].exists()) {
      inner_ = make_chat("text_completion", false);
    } else if (body["input"].at(0).is_object()) {
      inner_ = make_responses("chat", false);  // a conversation; embeddings have texts
    } else if (body["input"].exists()) {
      inner_ = make_input("embeddings", false);
    } else if (body["inputs"].exists()) {
      inner_ = make_tgi(head_);
    } else {
      return true;
    }
    inner_->start(head_, exchange);
    exchange.request_model = model_;
    inner_->request(body, exchange);
    return true;
  }

  void response(const ResponseHead& head, model::Exchange& exchange) override {
    if (inner_) inner_->response(head, exchange);
  }
  void end(bool whole, model::Exchange& exchange) override {
    if (inner_) inner_->end(whole, exchange);
  }

  void event(const Event& event, model::Exchange& exchange) override {
    if (!inner_) inner_ = make_chat_completions();
    inner_->event(event, exchange);
    settled_ = inner_->settled();
  }

 private:
  RequestHead head_;
  std::string model_;
  std::unique_ptr<Decoder> inner_;
};

}  // namespace

std::unique_ptr<Decoder> make_any_body(std::string model) { return std::make_unique<AnyBody>(std::move(model)); }

}  // namespace penstock::parsers::dialects
