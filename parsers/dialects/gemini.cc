#include "parsers/dialects/gemini.h"

#include "parsers/dialects/count_tokens.h"
#include "parsers/dialects/errors.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::dialects {
namespace {

std::string enum_text(Json value) {
  if (const auto text = string_of(value)) return std::string(*text);
  // Clients that ask for enum-encoding=int get numbers.
  if (const auto number = value.as_int()) return std::to_string(*number);
  return {};
}

class GenerateContent : public ModelCall {
 public:
  GenerateContent(std::string model, bool streamed) : ModelCall("generate_content", std::move(model), streamed) {}

  bool request(Json body, model::Exchange& exchange) override {
    const bool stream = exchange.stream;
    Decoder::request(body, exchange);
    exchange.stream = stream;
    if (!model_.empty()) exchange.request_model = model_;
    for (Json content : body["contents"].items())
      for (Json part : content["parts"].items())
        if (part["functionResponse"].is_object())
          add_tool_result(exchange.request, call_id(part["functionResponse"]["id"]));
    return true;
  }

  void event(const Event& event, model::Exchange& exchange) override {
    Json body = event.json;
    if (body["response"].is_object()) body = body["response"];  // Code Assist wraps it
    if (!body.is_object()) return;
    take_string(body["modelVersion"], exchange.response_model);
    take_string(body["responseId"], exchange.response_id);
    bool first = true;
    for (Json candidate : body["candidates"].items()) {
      if (first || candidate["index"].as_int() == 0) {
        if (const std::string reason = enum_text(candidate["finishReason"]); !reason.empty())
          exchange.finish_reason = reason;
      }
      first = false;
      for (Json part : candidate["content"]["parts"].items()) read_part(part, exchange);
    }
    take_gemini_usage(body["usageMetadata"], exchange.usage);
    // Usage grows from chunk to chunk; a finish reason comes with the last one, and never for a blocked prompt.
    if (streamed_)
      settled_ = exchange.finish_reason || body["promptFeedback"]["blockReason"] ? Settled::kAtEnd : Settled::kNo;
  }

 private:
  static void read_part(Json part, model::Exchange& exchange) {
    exchange.output_text_bytes += part["text"].text_bytes();
    const Json call = part["functionCall"];
    if (!call.is_object() || !call.complete()) return;
    exchange.output_text_bytes += generated_bytes(call["args"]) + call["partialArgs"].text_bytes();
    // With streamed arguments only the first part names the call.
    if (const auto name = string_of(call["name"]); name && !name->empty())
      add_tool_call(exchange, call_id(call["id"]), *name);
  }
};

// What `:predict` does is the model's affair: Imagen paints, PaLM (text-bison, chat-bison, code…) wrote, the rest
// embeds.
std::string_view predicts(std::string_view model) {
  if (model.starts_with("imagen") || model.starts_with("imagegeneration")) return "image_generation";
  if (model.starts_with("chat-bison") || model.starts_with("codechat-bison")) return "chat";
  return model.find("bison") != std::string_view::npos ? "text_completion" : "embeddings";
}

// embedContent, batchEmbedContents, and `:predict`.
class Predict : public ModelCall {
 public:
  using ModelCall::ModelCall;

  bool request(Json, model::Exchange&) override { return true; }

  void event(const Event& event, model::Exchange& exchange) override {
    const Json body = event.json;
    take_string(body["modelVersion"], exchange.response_model);
    take(exchange.usage.input_tokens, body["usageMetadata"]["promptTokenCount"].as_count());
    take(exchange.usage.reported_total_tokens, body["usageMetadata"]["totalTokenCount"].as_count());
    Count predicted;
    for (Json prediction : body["predictions"].items())
      predicted = sum(predicted, prediction["embeddings"]["statistics"]["token_count"].as_count());
    take(exchange.usage.input_tokens, predicted);
    const Json counted = body["metadata"]["tokenMetadata"];
    take(exchange.usage.input_tokens, counted["inputTokenCount"]["totalTokens"].as_count());
    take(exchange.usage.output_tokens, counted["outputTokenCount"]["totalTokens"].as_count());
    for (Json prediction : body["predictions"].items())
      exchange.output_text_bytes += prediction["content"].text_bytes() + prediction["candidates"].text_bytes();
  }
};

// POST …/interactions: {model|agent, input} in, {id, status, usage} out, or events that end with one.
class Interactions : public ModelCall {
 public:
  Interactions() : ModelCall("generate_content") {}

  bool request(Json body, model::Exchange& exchange) override {
    take_string(body["previous_interaction_id"], exchange.conversation_id);
    return Decoder::request(body, exchange);
  }

  void event(const Event& event, model::Exchange& exchange) override {
    Json body = event.json;
    exchange.output_text_bytes += body["delta"].text_bytes();
    // A call comes with the start of its step; earlier revisions called steps contents, and outputs in the document.
    for (std::string_view part : {"step", "content", "delta"}) call(body[part], exchange);
    if (body["interaction"].is_object()) body = body["interaction"];
    take_string(body["id"], exchange.response_id);
    take_string(body["model"], exchange.response_model);
    if (const auto status = string_of(body["status"])) exchange.finish_reason = std::string(*status);
    for (std::string_view list : {"steps", "outputs"}) {
      for (Json part : body[list].items()) {
        call(part, exchange);
        if (event.kind != Event::Kind::kJson) continue;  // of a stream it was counted as it came
        exchange.output_text_bytes += part["text"].text_bytes();
        for (Json content : part["content"].items()) exchange.output_text_bytes += content["text"].text_bytes();
      }
    }
    const Json usage = body["usage"];
    if (!usage.is_object() || !usage.complete()) return;
    model::Usage& into = exchange.usage;
    const Count thoughts = usage["total_thought_tokens"].as_count();
    take(into.input_tokens, sum(usage["total_input_tokens"].as_count(), usage["total_tool_use_tokens"].as_count()));
    take(into.output_tokens, sum(usage["total_output_tokens"].as_count(), thoughts));
    take(into.cache_read_tokens, usage["total_cached_tokens"].as_count());
    take(into.reasoning_tokens, thoughts);
    take(into.reported_total_tokens, usage["total_tokens"].as_count());
  }

 private:
  static void call(Json part, model::Exchange& exchange) {
    if (!part.complete() || part["type"].string_or("") != "function_call") return;
    const model::CallId id = call_id(part["id"]);
    const auto name = string_of(part["name"]);
    if (!name || name->empty()) return;
    exchange.output_text_bytes += generated_bytes(part["arguments"]);
    for (const model::ToolCall& known : exchange.tool_calls)
      if (known.id == id && known.name == *name && !std::holds_alternative<std::monostate>(id)) return;
    add_tool_call(exchange, id, *name);
  }
};

}  // namespace

void take_gemini_usage(Json usage, model::Usage& into) {
  if (!usage.is_object() || !usage.complete()) return;
  const Count thoughts = usage["thoughtsTokenCount"].as_count();
  Count candidates = usage["candidatesTokenCount"].as_count();
  if (!candidates) candidates = usage["responseTokenCount"].as_count();  // the Live API's name
  take(into.input_tokens, sum(usage["promptTokenCount"].as_count(), usage["toolUsePromptTokenCount"].as_count()));
  take(into.output_tokens, sum(candidates, thoughts));
  take(into.cache_read_tokens, usage["cachedContentTokenCount"].as_count());
  take(into.reasoning_tokens, thoughts);
  take(into.reported_total_tokens, usage["totalTokenCount"].as_count());
  for (const auto& [group, field] : {std::pair{"promptTokensDetails", &model::Usage::audio_input_tokens},
                                     {"candidatesTokensDetails", &model::Usage::audio_output_tokens},
                                     {"responseTokensDetails", &model::Usage::audio_output_tokens}})
    for (Json detail : usage[group].items())
      if (detail["modality"].string_or("") == "AUDIO") take(into.*field, detail["tokenCount"].as_count());
}

std::unique_ptr<Decoder> open_gemini(const RequestHead& head) {
  const Segments path(head.path);
  // A background interaction is polled; whoever asks again gets the same usage again.
  if (head.method == "GET" && path.tail(1) == "interactions") return std::make_unique<Interactions>();
  if (head.method != "POST") return nullptr;
  if (path.ends_with({"interactions"})) return std::make_unique<Interactions>();
  auto [model, method] = model_method(head.path);
  if (method.empty() && path.tail(0).starts_with("v1internal:"))
    method = path.tail(0).substr(path.tail(0).find(':') + 1);
  if (method == "generateContent" || method == "streamGenerateContent")
    return std::make_unique<GenerateContent>(std::move(model), method == "streamGenerateContent");
  if (method == "embedContent" || method == "batchEmbedContents")
    return std::make_unique<Predict>("embeddings", std::move(model));
  if (method == "predict") {
    const std::string_view operation = predicts(model);
    return std::make_unique<Predict>(operation, std::move(model));
  }
  if (method == "countTokens") return make_count_tokens(std::move(model));
  return nullptr;
}

}  // namespace penstock::parsers::dialects
