// Agents and knowledge bases. The answer is an event stream of chunks and, if asked for, traces; each trace of a model
// invocation has the usage of that invocation, so here, unlike anywhere else, usage is added up.
#include "parsers/providers/aws_bedrock/agent.h"

#include "parsers/dialects/bedrock.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/model_call.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers::aws_bedrock {
namespace {

class Agent : public dialects::ModelCall {
 public:
  using ModelCall::ModelCall;

  void start(const RequestHead& head, model::Exchange& exchange) override {
    ModelCall::start(head, exchange);
    exchange.conversation_id = session_of(head.path);
  }

  bool request(Json body, model::Exchange& exchange) override {
    dialects::take_string(body["sessionId"], exchange.conversation_id);
    return true;
  }

  void response(const ResponseHead& head, model::Exchange&) override {
    frames_ = wire::http::media_type(head.header("content-type")) == "application/vnd.amazon.eventstream";
  }

  void event(const Event& event, model::Exchange& exchange) override {
    // Agents answer in frames even when the client does not stream: the announcement says what it asked for.
    exchange.stream = frames_;
    if (event.name == "returnControl") {
      for (Json input : event.json["invocationInputs"].items()) {
        const Json function = input["functionInvocationInput"];
        if (function.is_object())
          dialects::add_tool_call(exchange, dialects::call_id(event.json["invocationId"]),
                                  dialects::string_of(function["function"]).value_or(""));
      }
    }
    for (Json stage : event.json["trace"].members()) {
      const Json usage = stage["modelInvocationOutput"]["metadata"]["usage"];
      if (!usage.is_object()) continue;
      model::Usage one;
      dialects::take_converse_usage(usage, one);
      exchange.usage.input_tokens = dialects::sum(exchange.usage.input_tokens, one.input_tokens);
      exchange.usage.output_tokens = dialects::sum(exchange.usage.output_tokens, one.output_tokens);
    }
  }

 private:
  static std::string session_of(std::string_view path) {
    const std::size_t at = path.find("/sessions/");
    if (at == std::string_view::npos) return {};
    const std::string_view rest = path.substr(at + 10);
    return std::string(rest.substr(0, rest.find('/')));
  }

  bool frames_ = false;
};

}  // namespace

std::unique_ptr<Decoder> make_agent(std::string_view operation) { return std::make_unique<Agent>(operation); }

}  // namespace penstock::parsers::providers::aws_bedrock
