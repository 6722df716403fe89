#include "parsers/dialects/bedrock.h"
#include "parsers/dialects/count_tokens.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::dialects {
namespace {

class Converse : public ModelCall {
 public:
  Converse(std::string model, bool streamed) : ModelCall("chat", std::move(model), streamed) {}

  bool request(Json, model::Exchange&) override { return true; }

  void event(const Event& event, model::Exchange& exchange) override {
    if (event.failed) return;
    read_converse_event(event.name, event.json, exchange);
    if (event.name == "metadata") settled_ = Settled::kYes;
  }
};

void read_tool_use(Json use, model::Exchange& exchange) {
  if (!use.is_object() || !use.complete()) return;
  if (use["type"].string_or("") == "server_tool_use") return;  // Amazon runs it
  add_tool_call(exchange, call_id(use["toolUseId"]), string_of(use["name"]).value_or(""));
  if (use["input"].size() != 0) exchange.output_text_bytes += generated_bytes(use["input"]);
}

}  // namespace

void take_converse_usage(Json usage, model::Usage& into) {
  if (!usage.is_object() || !usage.complete()) return;
  const auto either = [&usage](std::string_view a, std::string_view b) {
    const Count count = usage[a].as_count();
    return count ? count : usage[b].as_count();
  };
  const Count read = either("cacheReadInputTokens", "cacheReadInputTokenCount");
  const Count write = either("cacheWriteInputTokens", "cacheWriteInputTokenCount");
  take(into.input_tokens, sum(usage["inputTokens"].as_count(), read, write));
  take(into.output_tokens, usage["outputTokens"].as_count());
  take(into.cache_read_tokens, read);
  take(into.cache_write_tokens, write);
  take(into.reported_total_tokens, usage["totalTokens"].as_count());
}

void read_converse_event(std::string_view name, Json body, model::Exchange& exchange) {
  if (const auto reason = string_of(body["stopReason"])) exchange.finish_reason = std::string(*reason);
  take_converse_usage(body["usage"], exchange.usage);
  if (name == "contentBlockStart") read_tool_use(body["start"]["toolUse"], exchange);
  if (name == "contentBlockDelta") {
    const Json delta = body["delta"];
    exchange.output_text_bytes += delta["text"].text_bytes() + delta["toolUse"]["input"].text_bytes() +
                                  delta["reasoningContent"]["text"].text_bytes();
  }
  for (Json block : body["output"]["message"]["content"].items()) {
    read_tool_use(block["toolUse"], exchange);
    exchange.output_text_bytes +=
        block["text"].text_bytes() + block["reasoningContent"]["reasoningText"]["text"].text_bytes();
  }
}

std::unique_ptr<Decoder> open_bedrock(const RequestHead& head) {
  constexpr std::string_view kModel = "/model/";
  const std::string_view path(head.path);
  const std::size_t at = path.find(kModel), slash = path.rfind('/');
  if (head.method != "POST" || at == std::string_view::npos || slash < at + kModel.size()) return nullptr;
  // An ARN that was not encoded has slashes: the model is all between /model/ and the operation.
  const std::size_t begin = at + kModel.size();
  std::string model = percent_decode(path.substr(begin, slash - begin));
  const std::string_view last = path.substr(slash + 1);
  if (last == "converse") return make_converse(std::move(model), false);
  if (last == "converse-stream") return make_converse(std::move(model), true);
  if (last == "invoke") return make_invoke(std::move(model), "chat", false);
  if (last == "invoke-with-response-stream") return make_invoke(std::move(model), "chat", true);
  if (last == "invoke-with-bidirectional-stream") return make_invoke(std::move(model), "realtime", true);
  if (last == "count-tokens") return make_count_tokens(std::move(model));
  return nullptr;
}

std::unique_ptr<Decoder> open_bedrock_shaped(const RequestHead& head) {
  // "invoke" and "count-tokens" are words that others use too: the model must be one of a vendor.
  const bool common = head.path.ends_with("/invoke") || head.path.ends_with("/count-tokens");
  bool vendor = false;
  for (std::string_view name : {"anthropic.", "amazon.", "meta.", "mistral.", "cohere.", "ai21.", "deepseek.",
                                "openai.", "qwen.", "arn:aws", "arn%3Aaws", "arn%3aaws"})
    vendor = vendor || head.path.find(name) != std::string::npos;
  return common && !vendor ? nullptr : open_bedrock(head);
}

std::unique_ptr<Decoder> make_converse(std::string model, bool streamed) {
  return std::make_unique<Converse>(std::move(model), streamed);
}

}  // namespace penstock::parsers::dialects
