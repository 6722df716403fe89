// Realtime and Responses over a WebSocket: both are the events of a response, many on one connection. A turn begins
// with the client's `response.create`, or, where the server detects the end of speech, with its own `response.created`;
// it ends with the one terminal event, which has the usage. Text and audio sent before belong to the turn they lead to.
// A session may also transcribe only: then nothing responds, and each transcription is a turn.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "parsers/dialects/errors.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/responses.h"
#include "parsers/dialects/trace.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::dialects {
namespace {

constexpr std::size_t kMaxOpenTurns = 64;

class Conversing : public TwoSided {
 public:
  Conversing(std::string_view operation, std::string model, bool transcribes)
      : operation_(operation), request_model_(std::move(model)), transcribes_(transcribes) {}

 private:
  struct Turn {
    model::Exchange* exchange;
    ResponseReader reader;
    std::string response_id;  // empty until the server names it
    std::string stream_id;    // of a multiplexed socket
  };

  void from_client(Json message, Turns& turns) override {
    const std::string_view type = message["type"].string_or("");
    if (type == "session.update") take_string(message["session"]["model"], request_model_);
    if (type == "response.create") {
      if (turns_.size() >= kMaxOpenTurns) return;
      Turn& turn = open(turns);
      take_string(message["stream_id"], turn.stream_id);
      // Responses put the request beside the type, Realtime into `response`.
      const Json body = message["response"].is_object() ? message["response"] : message;
      take_string(body["model"], turn.exchange->request_model);
      read_request_facts(body, turn.exchange->request);
      read_response_request(body, *turn.exchange);
      // A socket has one handshake for many turns: Codex repeats what a header field would say in each of them.
      take_traceparent(string_of(body["client_metadata"]["ws_request_header_traceparent"]).value_or(""),
                       turn.exchange->trace);
      turns.requested(*turn.exchange);
      return;
    }
    pending_.text_bytes += message.text_bytes();
    pending_.media_bytes += message.blob_bytes();
    if (message["item"]["type"].string_or("") == "function_call_output")
      add_tool_result(pending_, call_id(message["item"]["call_id"]));
  }

  void from_server(Json message, Turns& turns) override {
    const std::string_view type = message["type"].string_or("");
    if (type.ends_with("session.created") || type.ends_with("session.updated")) {
      const Json session = message["session"];
      transcribes_ =
          transcribes_ || type.starts_with("transcription_") || session["type"].string_or("") == "transcription";
      take_string(session["model"], session_model_);
      take_string(session["input_audio_transcription"]["model"], transcription_model_);
      take_string(session["audio"]["input"]["transcription"]["model"], transcription_model_);
    }
    if (type == "conversation.item.input_audio_transcription.completed") transcribed(message, turns);
    if (type == "response.created" && find(message) == nullptr) {
      // Nobody asked for it in words: the server heard the end of speech.
      if (turns_.size() >= kMaxOpenTurns) return;
      turns.requested(*open(turns).exchange);
    }
    if (!type.starts_with("response.") && type != "error") return;
    Turn* turn = find(message);
    if (turn == nullptr) return;
    take_string(message["response"]["id"], turn->response_id);
    model::Exchange& exchange = *turn->exchange;
    // An error about something else (a bad session setting) leaves the response under way alone.
    if (type == "error" && !turn->response_id.empty() && operation_ == "realtime") return;
    const bool last = turn->reader.event(message, exchange);
    if (exchange.response_model.empty()) exchange.response_model = session_model_;
    turns.progress(exchange);
    if (!last) return;
    const auto status = nothing_reported(exchange.usage) ? model::UsageStatus::kUnknown : model::UsageStatus::kExact;
    std::erase_if(turns_, [&exchange](const Turn& one) { return one.exchange == &exchange; });
    turns.complete(exchange, status);
  }

  Turn& open(Turns& turns) {
    model::Exchange& exchange = turns.begin();
    exchange.operation = operation_;
    exchange.request_model = request_model_;
    exchange.request = std::exchange(pending_, {});
    exchange.request.stored_context = operation_ == "realtime";  // the session so far
    exchange.iterations = std::exchange(transcriptions_, {});
    return turns_.emplace_back(Turn{&exchange, {}, {}, {}});
  }

  // The turn an event belongs to: by the response's id, by the stream's, else the first that has none yet, else the
  // only one.
  Turn* find(Json message) {
    std::string id;
    take_string(message["response_id"], id);
    take_string(message["response"]["id"], id);
    std::string stream;
    take_string(message["stream_id"], stream);
    for (Turn& turn : turns_)
      if (!id.empty() && turn.response_id == id) return &turn;
    for (Turn& turn : turns_)
      if (!stream.empty() && turn.stream_id == stream) return &turn;
    for (Turn& turn : turns_)
      if (turn.response_id.empty()) return &turn;
    return id.empty() && turns_.size() == 1 ? &turns_.front() : nullptr;
  }

  // Transcribing the input is another model's work, billed apart.
  void transcribed(Json message, Turns& turns) {
    const Json usage = message["usage"];
    if (transcribes_) {
      model::Exchange& exchange = turns.begin();
      exchange.operation = operation_;
      exchange.request_model = transcription_model_;
      exchange.request = std::exchange(pending_, {});
      turns.requested(exchange);
      exchange.output_text_bytes = message["transcript"].text_bytes();
      take_openai_usage(usage, exchange.usage);
      turns.complete(exchange,
                     nothing_reported(exchange.usage) ? model::UsageStatus::kUnknown : model::UsageStatus::kExact);
      return;
    }
    if (!usage.is_object() || transcriptions_.size() >= kMaxNames) return;
    model::Iteration pass;
    pass.model = transcription_model_;
    take_openai_usage(usage, pass.usage);
    if (!nothing_reported(pass.usage)) transcriptions_.push_back(std::move(pass));
  }

  std::string_view operation_;
  std::string request_model_;
  std::string session_model_;
  std::string transcription_model_ = "unknown";
  bool transcribes_;  // and does nothing else
  model::RequestFacts pending_;
  std::vector<model::Iteration> transcriptions_;
  std::vector<Turn> turns_;
};

}  // namespace

std::unique_ptr<Conversation> converse_openai(const RequestHead& head) {
  const Segments path(head.path);
  std::string model = query_parameter(head.query, "model").value_or("");
  if (model.empty()) model = query_parameter(head.query, "deployment").value_or("");
  const bool transcribes = query_parameter(head.query, "intent") == "transcription";
  if (path.tail(0) == "realtime") return std::make_unique<Conversing>("realtime", std::move(model), transcribes);
  if (path.tail(0) == "responses") return std::make_unique<Conversing>("chat", std::move(model), false);
  return nullptr;
}

}  // namespace penstock::parsers::dialects
