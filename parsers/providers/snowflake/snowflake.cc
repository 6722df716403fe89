// Snowflake Cortex: chat completions, whose finish reasons are empty and tool_calls padded; and
// cortex/inference:complete, whose tool calls are contents as Anthropic has them.
#include <string_view>

#include "parsers/dialects/compatible.h"
#include "parsers/dialects/delegate.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"*.snowflakecomputing.com"};

class Complete : public dialects::Delegate {
 public:
  Complete() : Delegate(dialects::make_chat_completions()) {}

  void event(const Event& event, model::Exchange& exchange) override {
    Delegate::event(event, exchange);
    for (Json choice : event.json["choices"].items()) {
      const Json delta = choice["delta"];
      call(delta, exchange);
      for (Json content : choice["message"]["content_list"].items()) call(content["tool_use"], exchange);
    }
    // There is no finish reason; the counters come with the last event.
    if (!dialects::nothing_reported(exchange.usage)) settled_ = Settled::kAtEnd;
  }

 private:
  // A stream names the call once; its input follows in events of their own.
  static void call(Json use, model::Exchange& exchange) {
    exchange.output_text_bytes += dialects::generated_bytes(use["input"]);
    const auto name = dialects::string_of(use["name"]);
    if (!use.complete() || !name || name->empty()) return;
    dialects::add_tool_call(exchange, dialects::call_id(use["tool_use_id"]), *name);
  }
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  const dialects::Segments path(head.path);
  if (!path.contains("cortex")) return nullptr;  // a data warehouse besides
  if (head.method == "POST" && path.tail(0) == "inference:complete") return std::make_unique<Complete>();
  if (head.method == "POST" && path.tail(0) == "inference:embed") return dialects::make_embeddings();
  return dialects::open_compatible(head);
}

}  // namespace

extern const Provider k_snowflake;
const Provider k_snowflake{
    .name = "snowflake",
    .hosts = kHosts,
    .open = open,
};

}  // namespace penstock::parsers::providers
