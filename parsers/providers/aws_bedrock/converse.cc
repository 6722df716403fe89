#include "parsers/dialects/facts.h"
#include "parsers/providers/aws_bedrock/aws_bedrock.h"

namespace penstock::parsers::providers::aws_bedrock {
namespace {

class Converse : public Decoder {
 public:
  Converse(std::string model, bool streamed) : model_(std::move(model)), streamed_(streamed) {}

  void start(const RequestHead&, model::Exchange& exchange) override {
    exchange.kind = model::Kind::kLlm;
    exchange.operation = "chat";
    exchange.request_model = model_;
    exchange.stream = streamed_;
  }
  bool request(Json, model::Exchange&) override { return true; }

  void event(const Event& event, model::Exchange& exchange) override {
    if (event.failed) return;
    read_converse_event(event.name, event.json, exchange);
    if (event.name == "metadata") settled_ = Settled::kYes;
  }

 private:
  std::string model_;
  bool streamed_;
};

void read_tool_use(Json use, model::Exchange& exchange) {
  if (!use.is_object() || !use.complete()) return;
  if (use["type"].string_or("") == "server_tool_use") return;  // Amazon runs it
  dialects::add_tool_call(exchange, dialects::call_id(use["toolUseId"]), dialects::string_of(use["name"]).value_or(""));
  if (use["input"].size() != 0) exchange.output_text_bytes += dialects::generated_bytes(use["input"]);
}

}  // namespace

void take_usage(Json usage, model::Usage& into) {
  if (!usage.is_object() || !usage.complete()) return;
  const auto either = [&usage](std::string_view a, std::string_view b) {
    const dialects::Count count = usage[a].as_count();
    return count ? count : usage[b].as_count();
  };
  const dialects::Count read = either("cacheReadInputTokens", "cacheReadInputTokenCount");
  const dialects::Count write = either("cacheWriteInputTokens", "cacheWriteInputTokenCount");
  dialects::take(into.input_tokens, dialects::sum(usage["inputTokens"].as_count(), read, write));
  dialects::take(into.output_tokens, usage["outputTokens"].as_count());
  dialects::take(into.cache_read_tokens, read);
  dialects::take(into.cache_write_tokens, write);
  dialects::take(into.reported_total_tokens, usage["totalTokens"].as_count());
}

void read_converse_event(std::string_view name, Json body, model::Exchange& exchange) {
  if (const auto reason = dialects::string_of(body["stopReason"])) exchange.finish_reason = std::string(*reason);
  take_usage(body["usage"], exchange.usage);
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

std::unique_ptr<Decoder> make_converse(std::string model, bool streamed) {
  return std::make_unique<Converse>(std::move(model), streamed);
}

}  // namespace penstock::parsers::providers::aws_bedrock
