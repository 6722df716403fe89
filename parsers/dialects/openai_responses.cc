// POST …/responses: one JSON object, or its events.
#include "parsers/dialects/openai.h"
#include "parsers/dialects/openai_internal.h"
#include "parsers/dialects/responses.h"

namespace penstock::parsers::dialects {
namespace {

class Responses : public Decoder {
 public:
  Responses(std::string_view operation, bool strict) : operation_(operation), strict_(strict) {}

  void start(const RequestHead& head, model::Exchange& exchange) override { start_openai(head, operation_, exchange); }

  bool request(Json body, model::Exchange& exchange) override {
    if (strict_ && !body["input"].exists() && !body["prompt"].exists() && !body["model"].exists()) return false;
    read_response_request(body, exchange);
    return Decoder::request(body, exchange);
  }

  void event(const Event& event, model::Exchange& exchange) override {
    if (event.data == "[DONE]") {
      settled_ = Settled::kYes;
      return;
    }
    if (!event.json.is_object()) return;
    if (operation_ == "count_tokens") return;  // {"input_tokens": n} is an answer, not a use
    const bool typed = event.json["type"].is_string();
    if (typed && event.json["object"].string_or("") != "response") {
      if (reader_.event(event.json, exchange)) settled_ = Settled::kYes;
    } else {
      reader_.object(event.json, true, exchange);
    }
  }

 private:
  std::string_view operation_;
  bool strict_;
  ResponseReader reader_;
};

}  // namespace

std::unique_ptr<Decoder> make_responses(std::string_view operation, bool strict) {
  return std::make_unique<Responses>(operation, strict);
}

std::unique_ptr<Decoder> make_responses(std::string_view operation) { return make_responses(operation, false); }

}  // namespace penstock::parsers::dialects
