// Cloudflare Workers AI and its AI gateway: chat completions under /ai/v1, models by name under /ai/run (answers
// wrapped in `result`), and vendors' own APIs behind the gateway.
#include <string_view>

#include "parsers/dialects/by_answer.h"
#include "parsers/dialects/compatible.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"api.cloudflare.com", "gateway.ai.cloudflare.com"};

class Run : public Decoder {
 public:
  void start(const RequestHead& head, model::Exchange& exchange) override {
    exchange.kind = model::Kind::kLlm;
    exchange.operation = "chat";
    const std::size_t at = head.path.find("/ai/run/");
    exchange.request_model = dialects::percent_decode(std::string_view(head.path).substr(at + 8));
    if (exchange.request_model.find("/bge-") != std::string::npos) exchange.operation = "embeddings";
  }

  void event(const Event& event, model::Exchange& exchange) override {
    if (event.data == "[DONE]") settled_ = Settled::kYes;
    const Json body = event.json["result"].is_object() ? event.json["result"] : event.json;
    // Newer models answer as chat completions or Responses do, inside the envelope or without it; some repeat the text
    // as `response` and the calls without their ids.
    Event inner = event;
    inner.json = body;
    if (!vendor_) vendor_ = dialects::open_by_answer(inner);
    if (vendor_) {
      vendor_->event(inner, exchange);
      settled_ = vendor_->settled();
      return;
    }
    exchange.output_text_bytes += body["response"].text_bytes();
    for (Json call : body["tool_calls"].items()) {
      const Json function = call["function"].is_object() ? call["function"] : call;
      if (call.complete())
        dialects::add_tool_call(exchange, dialects::call_id(call["id"]),
                                dialects::string_of(function["name"]).value_or(""));
    }
    dialects::take_openai_usage(body["usage"], exchange.usage);
  }

 private:
  std::unique_ptr<Decoder> vendor_;
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  if (head.method == "POST" && head.path.find("/ai/run/") != std::string::npos) return std::make_unique<Run>();
  return dialects::open_compatible(head);
}

}  // namespace

extern const Provider k_cloudflare;
const Provider k_cloudflare{
    .name = "cloudflare",
    .hosts = kHosts,
    .open = open,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
