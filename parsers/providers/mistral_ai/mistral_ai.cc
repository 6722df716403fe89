// Mistral AI: chat completions, embeddings, transcriptions, and conversations that it keeps. Audio tokens are counted
// beside the prompt, and so are those of connectors.
#include <string_view>

#include "parsers/dialects/compatible.h"
#include "parsers/dialects/errors.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"api.mistral.ai", "codestral.mistral.ai"};

// POST /v1/conversations[/{id}[/restart]]: {model or agent_id, inputs} in, {conversation_id, outputs, usage} out, or
// the outputs as events and the usage with the last one.
class Conversations : public dialects::ModelCall {
 public:
  Conversations() : ModelCall("chat") {}

  void start(const RequestHead& head, model::Exchange& exchange) override {
    ModelCall::start(head, exchange);
    exchange.conversation_id = std::string(dialects::Segments(head.path).after("conversations"));
    exchange.request.stored_context = !exchange.conversation_id.empty();
  }

  bool request(Json body, model::Exchange& exchange) override {
    for (Json entry : body["inputs"].items())
      if (entry["type"].string_or("") == "function.result")
        dialects::add_tool_result(exchange.request, dialects::call_id(entry["tool_call_id"]));
    return Decoder::request(body, exchange);
  }

  void event(const Event& event, model::Exchange& exchange) override {
    const Json body = event.json;
    dialects::take_string(body["conversation_id"], exchange.conversation_id);
    const std::string_view type = body["type"].string_or("");
    if (type == "conversation.response.done") settled_ = Settled::kYes;
    if (type == "conversation.response.error") dialects::note_error(body, true, exchange);
    entry(body, exchange);
    for (Json output : body["outputs"].items()) entry(output, exchange);
    const Json usage = body["usage"];
    dialects::take_openai_usage(usage, exchange.usage);
    // What connectors found was read by the model.
    const dialects::Count found = usage["connector_tokens"].as_count();
    if (usage.complete() && found)
      exchange.usage.input_tokens = dialects::sum(usage["prompt_tokens"].as_count(), found);
  }

 private:
  void entry(Json entry, model::Exchange& exchange) {
    dialects::take_string(entry["model"], exchange.response_model);
    const std::string_view type = entry["type"].string_or("");
    if (type.starts_with("message.output")) exchange.output_text_bytes += entry["content"].text_bytes();
    if (!type.starts_with("function.call")) return;
    exchange.output_text_bytes += dialects::generated_bytes(entry["arguments"]);
    const model::CallId id = dialects::call_id(entry["tool_call_id"]);
    const auto name = dialects::string_of(entry["name"]);
    if (!name || name->empty()) return;
    for (const model::ToolCall& known : exchange.tool_calls)
      if (known.id == id) return;  // its arguments go on
    dialects::add_tool_call(exchange, id, *name);
  }
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  const dialects::Segments path(head.path);
  const bool conversation = path.tail(0) == "conversations" || path.tail(1) == "conversations" ||
                            (path.tail(2) == "conversations" && path.tail(0) == "restart");
  if (head.method == "POST" && conversation) return std::make_unique<Conversations>();
  return dialects::open_compatible(head);
}

}  // namespace

extern const Provider k_mistral_ai;
const Provider k_mistral_ai{
    .name = "mistral_ai",
    .hosts = kHosts,
    .open = open,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
