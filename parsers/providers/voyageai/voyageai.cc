// Voyage AI: embeddings and reranking. The total is all it reports, and all of it is input.
#include <string_view>

#include "parsers/dialects/facts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"api.voyageai.com"};

class Voyage : public dialects::ModelCall {
 public:
  using ModelCall::ModelCall;

  void event(const Event& event, model::Exchange& exchange) override {
    dialects::take_string(event.json["model"], exchange.response_model);
    const dialects::Count total = event.json["usage"]["total_tokens"].as_count();
    dialects::take(exchange.usage.input_tokens, total);
    dialects::take(exchange.usage.reported_total_tokens, total);
  }
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  if (head.method != "POST") return nullptr;
  const std::string_view last = dialects::Segments(head.path).tail(0);
  if (last.ends_with("embeddings")) return std::make_unique<Voyage>("embeddings");  // multimodal…, contextualized…
  if (last == "rerank") return std::make_unique<Voyage>("rerank");
  return nullptr;
}

}  // namespace

extern const Provider k_voyageai;
const Provider k_voyageai{
    .name = "voyageai",
    .hosts = kHosts,
    .open = open,
};

}  // namespace penstock::parsers::providers
