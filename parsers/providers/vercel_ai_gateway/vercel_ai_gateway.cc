// Vercel AI gateway: chat completions, embeddings and Messages of many vendors, whose name is the model's prefix
// (chat completions of Google's models leave out what was thought, but repeat Google's own counters); and what the AI
// SDK speaks to it below /ai: the model is named by a header field, the answer's parts and usage are the
// SDK's.
#include <string_view>

#include "parsers/dialects/compatible.h"
#include "parsers/dialects/delegate.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/gemini.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"ai-gateway.vercel.sh"};

class SdkModel : public Decoder {
 public:
  SdkModel(std::string_view operation, std::string_view model_field)
      : operation_(operation), model_field_(model_field) {}

  void start(const RequestHead& head, model::Exchange& exchange) override {
    exchange.kind = model::Kind::kLlm;
    exchange.operation = operation_;
    exchange.request_model = std::string(head.header(model_field_));
    exchange.stream = head.header("ai-language-model-streaming") == "true";
  }
  bool request(Json, model::Exchange&) override { return true; }

  // A whole answer, or one part of a stream.
  void event(const Event& event, model::Exchange& exchange) override {
    const Json body = event.json;
    part(body, exchange);
    for (Json one : body["content"].items()) part(one, exchange);
    for (Json metadata : {body, body["response"]}) {
      dialects::take_string(metadata["id"], exchange.response_id);
      dialects::take_string(metadata["modelId"], exchange.response_model);
    }
    // Since its third version the SDK's reason is {unified, raw}.
    const Json reason = body["finishReason"];
    for (Json text : {reason, reason["unified"], reason["raw"]})
      if (const auto word = dialects::string_of(text)) exchange.finish_reason = std::string(*word);
    usage(body["usage"], exchange.usage);
    if (body["type"].string_or("") == "finish") settled_ = Settled::kYes;
  }

 private:
  static void part(Json part, model::Exchange& exchange) {
    const std::string_view type = part["type"].string_or("");
    for (std::string_view key : {"text", "delta"}) exchange.output_text_bytes += part[key].text_bytes();
    if (type != "tool-call" || !part.complete() || part["providerExecuted"].as_bool() == true) return;
    dialects::add_tool_call(exchange, dialects::call_id(part["toolCallId"]),
                            dialects::string_of(part["toolName"]).value_or(""));
  }

  // {inputTokens, outputTokens, …} as numbers, or since the third version as {total, cacheRead, …}.
  static void usage(Json usage, model::Usage& into) {
    if (!usage.is_object() || !usage.complete()) return;
    const Json input = usage["inputTokens"], output = usage["outputTokens"];
    for (Json count : {input, input["total"], usage["tokens"]}) dialects::take(into.input_tokens, count.as_count());
    for (Json count : {output, output["total"]}) dialects::take(into.output_tokens, count.as_count());
    for (Json count : {usage["cachedInputTokens"], input["cacheRead"]})
      dialects::take(into.cache_read_tokens, count.as_count());
    dialects::take(into.cache_write_tokens, input["cacheWrite"].as_count());
    for (Json count : {usage["reasoningTokens"], output["reasoning"]})
      dialects::take(into.reasoning_tokens, count.as_count());
    dialects::take(into.reported_total_tokens, usage["totalTokens"].as_count());
    // As a number, a vendor's own count: some leave reasoning out.
    if (output.is_number())
      into.output_tokens = dialects::whole_output(into.input_tokens, into.output_tokens, into.reasoning_tokens,
                                                  into.reported_total_tokens);
  }

  std::string_view operation_;
  std::string_view model_field_;
};

class Compatible : public dialects::Delegate {
 public:
  using Delegate::Delegate;

  void event(const Event& event, model::Exchange& exchange) override {
    Delegate::event(event, exchange);
    for (Json choice : event.json["choices"].items())
      for (std::string_view part : {"delta", "message"})
        for (std::string_view vendor : {"google", "vertex"})
          dialects::take_gemini_usage(choice[part]["provider_metadata"][vendor]["usageMetadata"], google_);
    if (google_.reasoning_tokens) exchange.usage.output_tokens = google_.output_tokens;
  }

 private:
  model::Usage google_;
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  const dialects::Segments path(head.path);
  if (head.method == "POST" && path.tail(1) == "ai") {
    if (path.tail(0) == "language-model") return std::make_unique<SdkModel>("chat", "ai-language-model-id");
    if (path.tail(0) == "embedding-model") return std::make_unique<SdkModel>("embeddings", "ai-embedding-model-id");
    if (path.tail(0) == "image-model") return std::make_unique<SdkModel>("image_generation", "ai-image-model-id");
  }
  auto decoder = dialects::open_compatible(head);
  if (decoder && path.ends_with({"chat", "completions"})) return std::make_unique<Compatible>(std::move(decoder));
  return decoder;
}

}  // namespace

extern const Provider k_vercel_ai_gateway;
const Provider k_vercel_ai_gateway{
    .name = "vercel_ai_gateway",
    .hosts = kHosts,
    .open = open,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
