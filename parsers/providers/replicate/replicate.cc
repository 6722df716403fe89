// Replicate: predictions, created and polled; a stream has a host of its own. Counters are in `metrics`, for language
// models only.
#include <string_view>

#include "parsers/dialects/facts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"api.replicate.com", "stream*.replicate.com", "*.replicate.net"};

class Prediction : public dialects::ModelCall {
 public:
  Prediction() : ModelCall("text_completion") {}

  void start(const RequestHead& head, model::Exchange& exchange) override {
    ModelCall::start(head, exchange);
    // models/{owner}/{name}/predictions
    const dialects::Segments path(head.path);
    if (path.tail(3) == "models") exchange.request_model = std::string(path.tail(2)) + "/" + std::string(path.tail(1));
  }

  bool request(Json body, model::Exchange& exchange) override {
    if (body["stream"].as_bool() == true) exchange.stream = true;
    return true;
  }

  void event(const Event& event, model::Exchange& exchange) override {
    if (event.name == "output") exchange.output_text_bytes += event.data.size();
    if (event.name == "done") settled_ = Settled::kYes;
    const Json body = event.json;
    if (!body.is_object()) return;
    dialects::take_string(body["id"], exchange.response_id);
    dialects::take_string(body["model"], exchange.response_model);
    if (const auto status = dialects::string_of(body["status"])) exchange.finish_reason = std::string(*status);
    dialects::take(exchange.usage.input_tokens, body["metrics"]["input_token_count"].as_count());
    dialects::take(exchange.usage.output_tokens, body["metrics"]["output_token_count"].as_count());
  }
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  const dialects::Segments path(head.path);
  if (head.host != "api.replicate.com") return std::make_unique<Prediction>();
  if (path.tail(0) == "predictions" || path.tail(1) == "predictions") return std::make_unique<Prediction>();
  return nullptr;
}

}  // namespace

extern const Provider k_replicate;
const Provider k_replicate{
    .name = "replicate",
    .hosts = kHosts,
    .open = open,
};

}  // namespace penstock::parsers::providers
