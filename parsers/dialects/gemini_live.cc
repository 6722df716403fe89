// Gemini's Live API: JSON messages (in text or binary frames) without ids. A turn begins when the client says that its
// part is complete, or with the server's first content after speech; a tool call and its response are inside the turn,
// and its last message has the usage of all of it.
#include <string>
#include <utility>

#include "parsers/dialects/facts.h"
#include "parsers/dialects/gemini.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::dialects {
namespace {

// The SDKs write snake_case and camelCase.
Json either(Json object, std::string_view camel, std::string_view snake) {
  const Json value = object[camel];
  return value.exists() ? value : object[snake];
}

class Live : public TwoSided {
  void from_client(Json message, Turns& turns) override {
    take_string(message["setup"]["model"], model_);
    model::RequestFacts& facts = turn_ != nullptr ? turn_->request : pending_;
    facts.text_bytes += message.text_bytes();
    facts.media_bytes += message.blob_bytes();
    for (Json response :
         either(either(message, "toolResponse", "tool_response"), "functionResponses", "function_responses").items())
      add_tool_result(facts, call_id(response["id"]));
    const Json content = either(message, "clientContent", "client_content");
    if (content.is_object() && either(content, "turnComplete", "turn_complete").as_bool() == true) open(turns);
  }

  void from_server(Json message, Turns& turns) override {
    const Json content = message["serverContent"];
    const Json calls = message["toolCall"]["functionCalls"];
    const Json usage = message["usageMetadata"];
    if (!content.exists() && !calls.exists() && !usage.exists()) return;
    model::Exchange& exchange = open(turns);
    for (Json part : content["modelTurn"]["parts"].items()) exchange.output_text_bytes += part["text"].text_bytes();
    exchange.output_text_bytes += content["outputTranscription"]["text"].text_bytes();
    for (Json call : calls.items()) {
      exchange.output_text_bytes += generated_bytes(call["args"]);
      add_tool_call(exchange, call_id(call["id"]), string_of(call["name"]).value_or(""));
    }
    take_gemini_usage(usage, exchange.usage);
    turns.progress(exchange);
    if (content["turnComplete"].as_bool() != true) return;
    turn_ = nullptr;
    turns.complete(exchange,
                   nothing_reported(exchange.usage) ? model::UsageStatus::kUnknown : model::UsageStatus::kExact);
  }

  model::Exchange& open(Turns& turns) {
    if (turn_ != nullptr) return *turn_;
    turn_ = &turns.begin();
    turn_->operation = "realtime";
    turn_->request_model = model_;
    turn_->request = std::exchange(pending_, {});
    turn_->request.stored_context = true;  // the session so far
    turns.requested(*turn_);
    return *turn_;
  }

  std::string model_;
  model::RequestFacts pending_;
  model::Exchange* turn_ = nullptr;
};

}  // namespace

std::unique_ptr<Conversation> converse_gemini(const RequestHead& head) {
  if (!head.path.ends_with("BidiGenerateContent")) return nullptr;
  return std::make_unique<Live>();
}

}  // namespace penstock::parsers::dialects
