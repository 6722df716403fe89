// Hugging Face: the router in front of many vendors, the serverless API and dedicated endpoints. What Text Generation
// Inference serves there under its own paths is `self_hosted`; under /models/{model} it speaks the same for models that
// write text. Models of other tasks have no tokens and are no exchange.
#include <string_view>

#include "parsers/dialects/compatible.h"
#include "parsers/dialects/delegate.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/tgi.h"

namespace penstock::parsers::providers {
namespace {

class TextGeneration : public dialects::Delegate {
 public:
  explicit TextGeneration(const RequestHead& head) : Delegate(dialects::make_tgi(head)) {}

  void start(const RequestHead& head, model::Exchange& exchange) override {
    Delegate::start(head, exchange);
    exchange.request_model =
        dialects::percent_decode(std::string_view(head.path).substr(head.path.find("/models/") + 8));
  }

  bool request(Json body, model::Exchange& exchange) override {
    const Json parameters = body["parameters"];
    bool writes = body["stream"].as_bool().has_value();
    for (std::string_view name : {"max_new_tokens", "return_full_text", "details", "do_sample", "temperature", "stop"})
      writes = writes || parameters[name].exists();
    return writes && body["inputs"].is_string() && Delegate::request(body, exchange);
  }
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  if (auto decoder = dialects::open_compatible(head)) return decoder;
  if (head.method != "POST" || head.path.find("/models/") == std::string::npos) return nullptr;
  return std::make_unique<TextGeneration>(head);
}

}  // namespace

extern const Provider k_huggingface;
const Provider k_huggingface{
    .name = "huggingface",
    .hosts = dialects::kHuggingFaceHosts,
    .open = open,
};

}  // namespace penstock::parsers::providers
