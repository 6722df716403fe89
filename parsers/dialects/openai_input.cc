// The smaller APIs: embeddings, moderations, images, speech, transcriptions, and the runs of assistants.
#include <algorithm>

#include "parsers/dialects/errors.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/openai_internal.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::dialects {
namespace {

class Input : public Decoder {
 public:
  Input(std::string_view operation, bool strict) : operation_(operation), strict_(strict) {}

  void start(const RequestHead& head, model::Exchange& exchange) override { start_openai(head, operation_, exchange); }

  bool request(Json body, model::Exchange& exchange) override {
    if (strict_ && !((body["input"].exists() || body["prompt"].is_string()) && body["model"].is_string())) return false;
    return Decoder::request(body, exchange);
  }

  void event(const Event& event, model::Exchange& exchange) override {
    const Json body = event.json;
    if (!body.is_object()) return;
    take_string(body["model"], exchange.response_model);
    take_string(body["id"], exchange.response_id);
    if (body["type"].string_or("").ends_with(".delta")) exchange.output_text_bytes += body["delta"].text_bytes();
    if (body["type"].string_or("").ends_with(".done")) settled_ = Settled::kYes;
    if (body["text"].is_string())
      exchange.output_text_bytes = std::max(exchange.output_text_bytes, body["text"].text_bytes());
    take_openai_usage(body["usage"], exchange.usage);
    // An embedding generates nothing: a reported 0 is a habit of the format, not a count.
    if (operation_ == "embeddings") exchange.usage.output_tokens.reset();
  }

 private:
  std::string_view operation_;
  bool strict_;
};

// A run of an assistant: created, polled, continued with tool outputs; plain or streamed.
class Runs : public Decoder {
 public:
  void start(const RequestHead&, model::Exchange& exchange) override {
    exchange.kind = model::Kind::kLlm;
    exchange.operation = "invoke_agent";
    exchange.request.stored_context = true;  // the thread
  }

  bool request(Json body, model::Exchange& exchange) override {
    for (Json output : body["tool_outputs"].items()) add_tool_result(exchange.request, call_id(output["tool_call_id"]));
    return Decoder::request(body, exchange);
  }

  void event(const Event& event, model::Exchange& exchange) override {
    if (event.data == "[DONE]") settled_ = Settled::kYes;
    const Json run = event.json;
    const std::string_view object = run["object"].string_or("");
    if (object == "thread.message.delta") exchange.output_text_bytes += run["delta"].text_bytes();
    if (object != "thread.run") return;
    take_string(run["id"], exchange.response_id);
    take_string(run["model"], exchange.response_model);
    take_string(run["thread_id"], exchange.conversation_id);
    if (const auto status = string_of(run["status"])) exchange.finish_reason = std::string(*status);
    take_openai_usage(run["usage"], exchange.usage);
    exchange.tool_calls.clear();  // the run names all that are open
    for (Json call : run["required_action"]["submit_tool_outputs"]["tool_calls"].items())
      if (call.complete())
        add_tool_call(exchange, call_id(call["id"]), string_of(call["function"]["name"]).value_or(""));
  }
};

}  // namespace

std::unique_ptr<Decoder> make_input(std::string_view operation, bool strict) {
  return std::make_unique<Input>(operation, strict);
}
std::unique_ptr<Decoder> make_embeddings() { return make_input("embeddings", false); }
std::unique_ptr<Decoder> make_runs() { return std::make_unique<Runs>(); }

}  // namespace penstock::parsers::dialects
