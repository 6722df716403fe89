// Perplexity: chat completions without /v1; usage in every chunk, CRLF framing, no [DONE], both delta and message. Long
// ones run in the background: {request} in, and whoever polls gets {status, response}.
#include <string_view>

#include "parsers/dialects/compatible.h"
#include "parsers/dialects/delegate.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"api.perplexity.ai"};

class Background : public dialects::Delegate {
 public:
  Background() : Delegate(dialects::make_chat_completions()) {}

  bool request(Json body, model::Exchange& exchange) override { return Delegate::request(body["request"], exchange); }

  void event(const Event& event, model::Exchange& exchange) override {
    dialects::take_string(event.json["id"], exchange.response_id);
    Event inner = event;
    inner.json = event.json["response"];
    if (inner.json.is_object()) Delegate::event(inner, exchange);
  }
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  const dialects::Segments path(head.path);
  const bool asks = head.method == "POST" && path.ends_with({"async", "chat", "completions"});
  const bool polls = head.method == "GET" && path.contains("async") && path.tail(1) == "completions";
  return asks || polls ? std::make_unique<Background>() : dialects::open_compatible(head);
}

}  // namespace

extern const Provider k_perplexity;
const Provider k_perplexity{
    .name = "perplexity",
    .hosts = kHosts,
    .open = open,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
