// InvokeModel: the request and the answer are those of the model's vendor. Streams wrap each vendor event, base64, in a
// frame {"bytes"}; the last one also has amazon-bedrock-invocationMetrics. Plain answers repeat the counters in header
// fields. The vendor's body is believed first; metrics and header fields fill what it does not say.
#include <string>

#include "parsers/dialects/anthropic.h"
#include "parsers/dialects/base64.h"
#include "parsers/dialects/bedrock.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::dialects {
namespace {

constexpr std::string_view kBytes[] = {"bytes"};
constexpr std::string_view kConverseEvents[] = {"messageStart",     "contentBlockStart", "contentBlockDelta",
                                                "contentBlockStop", "messageStop",       "metadata"};

class Invoke final : public ModelCall, wire::json::StringSink {
 public:
  Invoke(std::string model, std::string_view operation, bool streamed)
      : ModelCall(model.find("embed") != std::string::npos ? "embeddings" : operation, model, streamed) {}

  bool request(Json body, model::Exchange& exchange) override {
    if (body["texts"].exists() || body["embeddingConfig"].exists() || body["embeddingTypes"].exists())
      exchange.operation = "embeddings";
    return true;
  }

  void response(const ResponseHead& head, model::Exchange&) override {
    const auto count = [&head](std::string_view name) { return wire::json::to_uint(head.header(name)); };
    outside_.input = count("x-amzn-bedrock-input-token-count");
    outside_.output = count("x-amzn-bedrock-output-token-count");
    outside_.cache_read = count("x-amzn-bedrock-cache-read-input-token-count");
    outside_.cache_write = count("x-amzn-bedrock-cache-write-input-token-count");
  }

  wire::json::DigestOptions response_options() override {
    wire::json::DigestOptions options;
    if (!streamed_) return options;
    options.tap_keys = kBytes;
    options.tap_key_count = std::size(kBytes);
    options.tap = this;
    return options;
  }

  void event(const Event& event, model::Exchange& exchange) override {
    if (event.kind != Event::Kind::kFrame) {
      read(event, exchange);
    } else if (!event.failed && inner_open_) {
      inner_open_ = false;
      if (inner_.finish() != ParseState::kDone) return;
      Event vendor;
      vendor.kind = Event::Kind::kSse;
      vendor.json = inner_.root();
      read(vendor, exchange);
    }
  }

  void end(bool, model::Exchange& exchange) override {
    model::Usage& usage = exchange.usage;
    if (!usage.input_tokens && outside_.input) {
      usage.input_tokens = sum(outside_.input, outside_.cache_read, outside_.cache_write);
      usage.cache_read_tokens = outside_.cache_read;
      usage.cache_write_tokens = outside_.cache_write;
    }
    if (!usage.output_tokens) usage.output_tokens = outside_.output;
  }

 private:
  void on_string(std::string_view, std::string_view piece, bool last) override {
    if (!inner_open_) {
      inner_.clear();
      base64_ = {};
      inner_open_ = true;
    }
    decoded_.clear();
    base64_.feed(piece, decoded_);
    inner_.feed(decoded_);
    (void)last;
  }

  void read(const Event& event, model::Exchange& exchange) {
    const Json body = event.json;
    const Json metrics = body["amazon-bedrock-invocationMetrics"];
    if (metrics.is_object()) {
      take(outside_.input, metrics["inputTokenCount"].as_count());
      take(outside_.output, metrics["outputTokenCount"].as_count());
      take(outside_.cache_read, metrics["cacheReadInputTokenCount"].as_count());
      take(outside_.cache_write, metrics["cacheWriteInputTokenCount"].as_count());
      settled_ = Settled::kYes;
    }
    if (body["event"].is_object()) {
      read_speech(body["event"], exchange);
      return;
    }
    const std::string_view type = body["type"].string_or("");
    if (type == "message" || type.starts_with("message_") || type.starts_with("content_block_")) {
      delegate(make_messages(model_), event, exchange);
    } else if (body["choices"].is_array()) {
      delegate(make_chat_completions(), event, exchange);
      finish(body["choices"].at(0)["stop_reason"], exchange);
    } else {
      read_other(body, exchange);
    }
  }

  void delegate(std::unique_ptr<Decoder> decoder, const Event& event, model::Exchange& exchange) {
    if (!vendor_) vendor_ = std::move(decoder);
    const bool settled = settled_ == Settled::kYes;
    vendor_->event(event, exchange);
    settled_ = settled ? Settled::kYes : vendor_->settled();
  }

  // Nova Sonic speaks and listens over one request: its usage is the sum of the conversation so far.
  void read_speech(Json event, model::Exchange& exchange) {
    const Json usage = event["usageEvent"];
    take(exchange.usage.input_tokens, usage["totalInputTokens"].as_count());
    take(exchange.usage.output_tokens, usage["totalOutputTokens"].as_count());
    take(exchange.usage.reported_total_tokens, usage["totalTokens"].as_count());
    const Json speech = usage["details"]["total"];
    take(exchange.usage.audio_input_tokens, speech["input"]["speechTokens"].as_count());
    take(exchange.usage.audio_output_tokens, speech["output"]["speechTokens"].as_count());
    exchange.output_text_bytes += event["textOutput"]["content"].text_bytes();
    const Json call = event["toolUse"];
    if (call.is_object() && call.complete())
      add_tool_call(exchange, call_id(call["toolUseId"]), string_of(call["toolName"]).value_or(""));
    finish(event["completionEnd"]["stopReason"], exchange);
    settled_ = event["completionEnd"].is_object() ? Settled::kAtEnd : Settled::kNo;
  }

  // Amazon Nova and Titan, Meta Llama, Mistral, Cohere, AI21 Jurassic, and Anthropic's text completion.
  void read_other(Json body, model::Exchange& exchange) {
    take_string(body["model"], exchange.response_model);
    read_converse_event("", body, exchange);
    for (std::string_view name : kConverseEvents)
      if (body[name].is_object()) read_converse_event(name, body[name], exchange);
    finish(body["stop_reason"], exchange);
    finish(body["completionReason"], exchange);
    finish(body["finish_reason"], exchange);
    for (std::string_view list : {"results", "outputs", "generations", "completions"}) {
      const Json first = body[list].at(0);
      for (std::string_view key : {"completionReason", "stop_reason", "finish_reason"}) finish(first[key], exchange);
      for (Json one : body[list].items())
        exchange.output_text_bytes +=
            one["outputText"].text_bytes() + one["text"].text_bytes() + one["data"]["text"].text_bytes();
      finish(first["finishReason"]["reason"], exchange);
    }
    // Cohere names its calls, without ids; its stream repeats them at the end.
    const Json calls =
        body["event_type"].string_or("") == "tool-calls-generation" || !streamed_ ? body["tool_calls"] : Json{};
    for (Json call : calls.items())
      if (call.complete()) add_tool_call(exchange, call_id(call["id"]), string_of(call["name"]).value_or(""));
    for (std::string_view key : {"generation", "outputText", "completion", "text"})
      exchange.output_text_bytes += body[key].text_bytes();
    model::Usage& usage = exchange.usage;
    take(usage.input_tokens, body["inputTextTokenCount"].as_count());
    Count generated;
    for (Json result : body["results"].items()) generated = sum(generated, result["tokenCount"].as_count());
    take(usage.output_tokens, generated);
    take(usage.output_tokens, body["totalOutputTextTokenCount"].as_count());
    take(usage.input_tokens, body["prompt_token_count"].as_count());
    take(usage.output_tokens, body["generation_token_count"].as_count());
    take(usage.input_tokens, body["meta"]["billed_units"]["input_tokens"].as_count());
    // Counters that come with every event are final with a finish reason.
    if (streamed_ && settled_ != Settled::kYes) settled_ = exchange.finish_reason ? Settled::kAtEnd : Settled::kNo;
  }

  static void finish(Json reason, model::Exchange& exchange) {
    if (const auto text = string_of(reason); text && !text->empty()) exchange.finish_reason = std::string(*text);
  }

  struct Outside {
    Count input, output, cache_read, cache_write;
  };

  Outside outside_;
  std::unique_ptr<Decoder> vendor_;
  wire::json::Digest inner_;
  Base64Decoder base64_;
  std::string decoded_;
  bool inner_open_ = false;
};

}  // namespace

std::unique_ptr<Decoder> make_invoke(std::string model, std::string_view operation, bool streamed) {
  return std::make_unique<Invoke>(std::move(model), operation, streamed);
}

}  // namespace penstock::parsers::dialects
