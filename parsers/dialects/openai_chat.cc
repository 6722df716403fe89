// POST …/chat/completions, streamed or not, and the older …/completions, by OpenAI and its many imitators.
//
// Tool calls of a stream come in fragments keyed by (choice index, tool index); id and name only in the first one. Seen
// in the wild besides: no index at all, a constant index 0 with a new id for each call, a whole call per chunk, the id
// or name repeated in every fragment, and empty entries as padding.
#include <string>
#include <vector>

#include "parsers/dialects/errors.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/openai_internal.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::dialects {
namespace {

class ChatCompletions : public Decoder {
 public:
  explicit ChatCompletions(std::string_view operation, bool strict) : operation_(operation), strict_(strict) {}

  void start(const RequestHead& head, model::Exchange& exchange) override { start_openai(head, operation_, exchange); }

  bool request(Json body, model::Exchange& exchange) override {
    if (strict_ && !body["messages"].exists() && !body["prompt"].exists() && !body["model"].exists()) return false;
    // …/agents/completions and the like: the path says completions, the body holds a conversation.
    if (body["messages"].is_array()) exchange.operation = "chat";
    return Decoder::request(body, exchange);
  }

  void event(const Event& event, model::Exchange& exchange) override {
    if (event.data == "[DONE]") {
      settled_ = Settled::kYes;
      return;
    }
    const Json chunk = event.json;
    if (!chunk.is_object()) return;
    take_string(chunk["model"], exchange.response_model);
    take_string(chunk["id"], exchange.response_id);
    take_string(chunk["service_tier"], exchange.service_tier);
    bool first = true;
    for (Json choice : chunk["choices"].items()) {
      read_choice(choice, first, event.kind == Event::Kind::kJson, exchange);
      first = false;
    }
    read_usage(chunk, event.kind == Event::Kind::kJson, exchange);
  }

 private:
  struct Slot {
    std::int64_t choice;
    std::int64_t index;
    std::size_t call;  // position in exchange.tool_calls
  };

  void read_choice(Json choice, bool first, bool document, model::Exchange& exchange) {
    const std::int64_t index = choice["index"].as_int().value_or(first ? 0 : -1);
    if (index == 0 || (first && !seen_first_)) {
      Json reason = choice["finish_reason"];
      if (!reason.is_string() && choice["finish_details"].is_object()) reason = choice["finish_details"]["type"];
      if (const auto text = string_of(reason); text && !text->empty()) exchange.finish_reason = std::string(*text);
    }
    seen_first_ = seen_first_ || index == 0;
    // Some send both: in a stream the message is the sum of the deltas so far, in a plain answer the delta is empty.
    if (choice["delta"].is_object() && !(document && choice["message"].is_object())) {
      read_message(choice["delta"], index, false, exchange);
    } else {
      read_message(choice["message"], index, true, exchange);
    }
    if (choice["text"].is_string()) exchange.output_text_bytes += choice["text"].text_bytes();
    if (holds_error(choice)) note_error(choice, exchange.stream, exchange);
  }

  void read_message(Json message, std::int64_t choice, bool whole, model::Exchange& exchange) {
    if (!message.is_object()) return;
    for (std::string_view key : {"content", "reasoning_content", "reasoning", "refusal"})
      exchange.output_text_bytes += message[key].text_bytes();
    for (Json call : message["tool_calls"].items()) read_call(call, choice, whole, exchange);
    const Json legacy = message["function_call"];
    if (legacy.is_object()) {
      if (const auto name = string_of(legacy["name"]); name && !name->empty() && find(choice, kLegacy) == nullptr) {
        slots_.push_back({choice, kLegacy, exchange.tool_calls.size()});
        add_tool_call(exchange, {}, *name);
      }
      exchange.output_text_bytes += legacy["arguments"].text_bytes();
    }
  }

  void read_call(Json call, std::int64_t choice, bool whole, model::Exchange& exchange) {
    Json function = call["function"];
    if (!function.is_object() && call["custom"].is_object()) function = call["custom"];
    const std::string_view name = string_of(function["name"]).value_or("");
    const model::CallId id = call_id(call["id"]);
    const bool has_id = !std::holds_alternative<std::monostate>(id);
    const auto number = call["index"].as_int();
    exchange.output_text_bytes += generated_bytes(function["arguments"]) + generated_bytes(function["input"]);
    if (name.empty() && !has_id) return;  // a fragment of arguments, or padding
    if (whole) {
      if (call.complete()) add_tool_call(exchange, id, name);
      return;
    }
    Slot* slot = number ? find(choice, *number) : find(choice, id, exchange);
    if (slot != nullptr && slot->call < exchange.tool_calls.size()) {
      model::ToolCall& known = exchange.tool_calls[slot->call];
      const bool other_id = has_id && !std::holds_alternative<std::monostate>(known.id) && known.id != id;
      if (!other_id || name.empty()) {
        if (known.name.empty()) known.name = std::string(name);
        if (has_id && std::holds_alternative<std::monostate>(known.id)) known.id = id;
        return;
      }
      slot->call = exchange.tool_calls.size();
    } else if (!number && name.empty()) {
      return;
    } else if (slots_.size() < kMaxNames) {
      slots_.push_back({choice, number.value_or(kNoIndex), exchange.tool_calls.size()});
    }
    add_tool_call(exchange, id, name);
  }

  Slot* find(std::int64_t choice, std::int64_t index) {
    for (auto slot = slots_.rbegin(); slot != slots_.rend(); ++slot)
      if (slot->choice == choice && slot->index == index) return &*slot;
    return nullptr;
  }

  Slot* find(std::int64_t choice, const model::CallId& id, const model::Exchange& exchange) {
    for (Slot& slot : slots_)
      if (slot.choice == choice && slot.call < exchange.tool_calls.size() && exchange.tool_calls[slot.call].id == id)
        return &slot;
    return nullptr;
  }

  void read_usage(Json chunk, bool document, model::Exchange& exchange) {
    Json usage = chunk["usage"];
    if (!usage.is_object()) usage = chunk["x_groq"]["usage"];
    if (!usage.is_object()) usage = chunk["choices"].at(0)["usage"];
    if (!usage.is_object()) return;
    take_openai_usage(usage, exchange.usage);
    // Some repeat the usage so far in every chunk: it is final with the finish reason, or in a chunk of its own.
    const bool last = document || exchange.finish_reason || chunk["choices"].size() == 0;
    settled_ = last ? Settled::kAtEnd : Settled::kNo;
  }

  static constexpr std::int64_t kNoIndex = -2;
  static constexpr std::int64_t kLegacy = -3;
  std::string_view operation_;
  bool strict_;
  bool seen_first_ = false;
  std::vector<Slot> slots_;
};

}  // namespace

std::unique_ptr<Decoder> make_chat(std::string_view operation, bool strict) {
  return std::make_unique<ChatCompletions>(operation, strict);
}

std::unique_ptr<Decoder> make_chat_completions() { return make_chat("chat", false); }

}  // namespace penstock::parsers::dialects
