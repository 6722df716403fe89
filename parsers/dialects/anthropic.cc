// Usage of a stream comes twice: message_start has the input side and a placeholder for the output, message_delta the
// cumulative end, with any of the fields. Per field the last one that is not null holds.
#include "parsers/dialects/anthropic.h"

#include "parsers/dialects/count_tokens.h"
#include "parsers/dialects/errors.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::dialects {
namespace {

class Messages : public ModelCall {
 public:
  Messages(std::string model, bool strict) : ModelCall("chat", std::move(model)), strict_(strict) {}

  void start(const RequestHead& head, model::Exchange& exchange) override {
    ModelCall::start(head, exchange);
    // Claude Code names its session in a header, and whoever else set a session in metadata.user_id.
    exchange.conversation_id = std::string(head.header("x-claude-code-session-id"));
  }

  bool request(Json body, model::Exchange& exchange) override {
    if (strict_ && !(body["messages"].is_array() && body["max_tokens"].is_number())) return false;
    return Decoder::request(body, exchange);
  }

  void event(const Event& event, model::Exchange& exchange) override {
    const Json body = event.json;
    const std::string_view type = body["type"].string_or("");
    if (type == "message_start") {
      settled_ = Settled::kNo;
      head(body["message"], exchange);
    } else if (type == "content_block_start") {
      block(body["content_block"], exchange);
    } else if (type == "content_block_delta") {
      const Json delta = body["delta"];
      for (std::string_view key : {"text", "partial_json", "thinking"})
        exchange.output_text_bytes += delta[key].text_bytes();
    } else if (type == "message_delta") {
      if (const auto reason = string_of(body["delta"]["stop_reason"])) exchange.finish_reason = std::string(*reason);
      usage(body["usage"], exchange);
      settled_ = Settled::kAtEnd;
    } else if (type == "message_stop") {
      settled_ = Settled::kYes;
    } else if (type == "error") {
      note_error(body, event.kind != Event::Kind::kJson, exchange);
    } else if (type == "message" || (body["content"].is_array() && body["usage"].is_object())) {
      head(body, exchange);
    }
  }

 private:
  void head(Json message, model::Exchange& exchange) {
    take_string(message["id"], exchange.response_id);
    take_string(message["model"], exchange.response_model);
    usage(message["usage"], exchange);
    // All of a plain answer; a stream that resumes a program's tool call begins with that call.
    if (const auto reason = string_of(message["stop_reason"])) exchange.finish_reason = std::string(*reason);
    for (Json content : message["content"].items()) block(content, exchange);
  }

  void block(Json content, model::Exchange& exchange) {
    const std::string_view type = content["type"].string_or("");
    // server_tool_use and mcp_tool_use are executed by the provider.
    if (type == "tool_use" && content.complete())
      add_tool_call(exchange, call_id(content["id"]), string_of(content["name"]).value_or(""));
    for (std::string_view key : {"text", "thinking"}) exchange.output_text_bytes += content[key].text_bytes();
    // A stream begins a call with an empty object and sends the arguments as text.
    if (content["input"].size() != 0) exchange.output_text_bytes += generated_bytes(content["input"]);
  }

  void usage(Json usage, model::Exchange& exchange) {
    if (!usage.is_object() || !usage.complete()) return;
    counters_.take_from(usage);
    counters_.store(exchange.usage);
    take_string(usage["service_tier"], exchange.service_tier);
    if (!usage["iterations"].is_array()) return;
    // Passes of another type (compaction, advisor, …) are billed and in no top-level counter.
    exchange.iterations.clear();
    for (Json pass : usage["iterations"].items()) {
      if (pass["type"].string_or("message") == "message" || exchange.iterations.size() >= kMaxNames) continue;
      model::Iteration iteration;
      take_string(pass["model"], iteration.model);
      AnthropicCounters counters;
      counters.take_from(pass);
      counters.store(iteration.usage);
      exchange.iterations.push_back(std::move(iteration));
    }
  }

  bool strict_;
  AnthropicCounters counters_;
};

// POST /v1/complete, the API before Messages: no usage at all.
class Complete : public ModelCall {
 public:
  Complete() : ModelCall("text_completion") {}

  void event(const Event& event, model::Exchange& exchange) override {
    take_string(event.json["id"], exchange.response_id);
    take_string(event.json["model"], exchange.response_model);
    if (const auto reason = string_of(event.json["stop_reason"])) exchange.finish_reason = std::string(*reason);
    exchange.output_text_bytes += event.json["completion"].text_bytes();
  }
};

}  // namespace

std::unique_ptr<Decoder> make_messages(std::string model, bool strict) {
  return std::make_unique<Messages>(std::move(model), strict);
}

std::unique_ptr<Decoder> open_anthropic_shaped(const RequestHead& head) {
  if (head.method != "POST" || !Segments(head.path).ends_with({"messages"})) return nullptr;
  return make_messages({}, true);
}

std::unique_ptr<Decoder> open_anthropic(const RequestHead& head) {
  if (head.method != "POST") return nullptr;
  const Segments path(head.path);
  if (path.ends_with({"v1", "messages"})) return make_messages();
  if (path.ends_with({"messages", "count_tokens"})) return make_count_tokens();
  if (path.ends_with({"v1", "complete"})) return std::make_unique<Complete>();
  return nullptr;
}

}  // namespace penstock::parsers::dialects
