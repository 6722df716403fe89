// Fields by number, as the published schema has them (package xai_api):
//   GetCompletionsRequest      messages 1  model 2  max_tokens 7  n 8  tools 17
//   GetChatCompletionResponse  id 1  outputs 2 {finish_reason 1, index 2, message 3}        model 6  usage 9
//   GetChatCompletionChunk     id 1  outputs 2 {delta 1, finish_reason 3, index 4}          model 4  usage 6
//   message, delta             content 1  tool_calls 3 {id 1, type 2, function 10 {name 1, arguments 2}}  reasoning 4
//   SamplingUsage              completion 1  prompt 2  total 3  reasoning 6  cached_prompt_text 7
// A chunk's usage is what was consumed so far, and reasoning is outside completion: rules 1 and 3 of every provider's
// own. proto3 leaves zeros out: a usage that is there reports all of its fields.
#include "parsers/providers/x_ai/grpc.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "parsers/dialects/facts.h"
#include "parsers/dialects/usage.h"
#include "parsers/wire/protobuf/walker.h"

namespace penstock::parsers::providers::x_ai {
namespace {

namespace protobuf = wire::protobuf;

class Request final : public protobuf::Sink {
 public:
  std::string model;
  model::RequestFacts facts;
  void clear() { *this = Request(); }

 private:
  protobuf::Treat on_length(protobuf::Path path, std::uint64_t length) override {
    if (protobuf::is(path, {2})) return protobuf::Treat::kBytes;  // model
    if (protobuf::is(path, {1}) || protobuf::is(path, {1, 1}))
      return protobuf::Treat::kEnter;  // messages, their content
    if (protobuf::is(path, {1, 1, 1}) || protobuf::is(path, {1, 5})) facts.text_bytes += length;  // text
    if (protobuf::is(path, {1, 1, 2}) || protobuf::is(path, {1, 1, 3}))
      ++facts.media_parts, facts.media_bytes += length;
    if (protobuf::is(path, {1, 7})) return protobuf::Treat::kBytes;  // tool_call_id
    if (protobuf::is(path, {17})) facts.text_bytes += length;
    if (protobuf::is(path, {17}) || protobuf::is(path, {17, 1}))
      return protobuf::Treat::kEnter;  // tools, their function
    if (protobuf::is(path, {17, 1, 1})) return protobuf::Treat::kBytes;
    return protobuf::Treat::kSkip;
  }
  void on_varint(protobuf::Path path, std::uint64_t value) override {
    if (protobuf::is(path, {7})) facts.max_output_tokens = value;
    if (protobuf::is(path, {8})) facts.choices = value;
  }
  void on_bytes(protobuf::Path path, std::string_view piece, bool last) override {
    std::string& into = protobuf::is(path, {2}) ? model : text_;
    protobuf::append_short(into, piece);
    if (!last || protobuf::is(path, {2})) return;
    if (protobuf::is(path, {1, 7})) dialects::add_tool_result(facts, text_);
    if (protobuf::is(path, {17, 1, 1}) && facts.offered_tools.size() < dialects::kMaxNames)
      facts.offered_tools.push_back(text_);
    text_.clear();
  }

  std::string text_;
};

// One message of the answer. Nothing of it is taken over before it has ended whole.
class Answer final : public protobuf::Sink {
 public:
  explicit Answer(bool chunk) : chunk_(chunk) {}

  std::string id, model;
  std::uint64_t text_bytes = 0;
  std::uint64_t finish_reason = 0;
  struct Call {
    std::string id, name;
    std::uint64_t type = 0;
  };
  std::vector<Call> calls;
  bool has_usage = false;
  std::array<std::uint64_t, 8> usage{};

  void clear() { *this = Answer(chunk_); }

 private:
  std::uint32_t model_field() const { return chunk_ ? 4 : 6; }
  std::uint32_t usage_field() const { return chunk_ ? 6 : 9; }
  std::uint32_t message_field() const { return chunk_ ? 1 : 3; }
  std::uint32_t finish_field() const { return chunk_ ? 3 : 1; }

  protobuf::Treat on_length(protobuf::Path path, std::uint64_t length) override {
    if (protobuf::is(path, {1}) || protobuf::is(path, {model_field()})) return protobuf::Treat::kBytes;
    if (protobuf::is(path, {usage_field()})) has_usage = true;
    if (protobuf::is(path, {2})) output_finish_ = 0;
    if (protobuf::is(path, {usage_field()}) || protobuf::is(path, {2}) || protobuf::is(path, {2, message_field()}))
      return protobuf::Treat::kEnter;
    if (path.size() >= 3 && path[0] == 2 && path[1] == message_field()) {
      if (path.size() == 3 && (path[2] == 1 || path[2] == 4)) text_bytes += length;
      if (path.size() == 3 && path[2] == 3) {
        if (calls.size() < dialects::kMaxNames) calls.emplace_back();
        return protobuf::Treat::kEnter;
      }
      if (path.size() == 4 && path[2] == 3)
        return path[3] == 10  ? protobuf::Treat::kEnter
               : path[3] == 1 ? protobuf::Treat::kBytes
                              : protobuf::Treat::kSkip;
      if (path.size() == 5 && path[3] == 10 && path[4] == 1) return protobuf::Treat::kBytes;
      if (path.size() == 5 && path[3] == 10 && path[4] == 2) text_bytes += length;
    }
    return protobuf::Treat::kSkip;
  }
  void on_varint(protobuf::Path path, std::uint64_t value) override {
    if (path.size() == 2 && path[0] == usage_field() && path[1] < usage.size()) usage[path[1]] = value;
    if (protobuf::is(path, {2, finish_field()})) output_finish_ = value;
    if (path.size() == 4 && path[2] == 3 && path[3] == 2 && !calls.empty()) calls.back().type = value;
  }
  void on_bytes(protobuf::Path path, std::string_view piece, bool) override {
    if (protobuf::is(path, {1})) protobuf::append_short(id, piece);
    if (protobuf::is(path, {model_field()})) protobuf::append_short(model, piece);
    if (calls.empty()) return;
    if (path.size() == 4) protobuf::append_short(calls.back().id, piece);
    if (path.size() == 5) protobuf::append_short(calls.back().name, piece);
  }
  void on_end(protobuf::Path path) override {
    // Each turn of an agentic answer is an output of its own: the last one ends it.
    if (protobuf::is(path, {2}) && output_finish_ != 0) finish_reason = output_finish_;
  }

  bool chunk_;
  std::uint64_t output_finish_ = 0;
};

class Chat final : public Decoder {
 public:
  explicit Chat(bool chunks) : chunks_(chunks), answer_(chunks) {}

  void start(const RequestHead&, model::Exchange& exchange) override {
    exchange.kind = model::Kind::kLlm;
    exchange.operation = "chat";
    exchange.stream = chunks_;
  }

  void request_message(std::string_view piece, bool last, model::Exchange& exchange) override {
    request_.feed(piece, last);  // as far as it came
    if (!last) return;
    exchange.request_model = request_.fields().model;
    const std::uint64_t body_bytes = exchange.request.body_bytes;
    exchange.request = request_.fields().facts;
    exchange.request.body_bytes = body_bytes;
  }

  void event(const Event& event, model::Exchange& exchange) override {
    if (event.kind != Event::Kind::kGrpc) return;
    if (answer_.feed(event.data, event.last) && !event.failed) take(answer_.fields(), exchange);
  }

 private:
  void take(const Answer& answer, model::Exchange& exchange) {
    if (!answer.id.empty()) exchange.response_id = answer.id;
    if (!answer.model.empty()) exchange.response_model = answer.model;
    exchange.output_text_bytes += answer.text_bytes;
    for (const Answer::Call& call : answer.calls) {
      // Type 1, or none: executed by the client. A call that is streamed in fragments ends with the whole of it.
      if (call.type > 1) continue;
      const model::CallId id = call.id.empty() ? model::CallId{} : model::CallId{call.id};
      auto known = std::find_if(exchange.tool_calls.begin(), exchange.tool_calls.end(),
                                [&](const model::ToolCall& one) { return one.id == id; });
      if (known == exchange.tool_calls.end() || call.id.empty()) {
        dialects::add_tool_call(exchange, id, call.name);
      } else if (known->name.size() < call.name.size()) {
        known->name = call.name;
      }
    }
    static constexpr std::string_view kReasons[] = {"REASON_INVALID", "REASON_MAX_LEN",    "REASON_MAX_CONTEXT",
                                                    "REASON_STOP",    "REASON_TOOL_CALLS", "REASON_TIME_LIMIT"};
    if (answer.finish_reason != 0)
      exchange.finish_reason = answer.finish_reason < std::size(kReasons) ? std::string(kReasons[answer.finish_reason])
                                                                          : std::to_string(answer.finish_reason);
    if (!answer.has_usage) return;
    const auto& [unused, completion, prompt, total, text, image, reasoning, cached] = answer.usage;
    model::Usage& usage = exchange.usage;
    usage.input_tokens = prompt;
    // Outside completion where the total says so.
    const dialects::Count all =
        dialects::sum(dialects::Count(prompt), dialects::Count(completion), dialects::Count(reasoning));
    usage.output_tokens =
        total == *all ? *dialects::sum(dialects::Count(completion), dialects::Count(reasoning)) : completion;
    usage.reasoning_tokens = reasoning;
    usage.cache_read_tokens = cached;
    usage.reported_total_tokens = total;
    if (chunks_) settled_ = exchange.finish_reason ? Settled::kAtEnd : Settled::kNo;
  }

  bool chunks_;
  protobuf::Message<Request> request_;
  protobuf::Message<Answer> answer_;
};

}  // namespace

std::unique_ptr<Decoder> open_grpc(std::string_view method) {
  if (method == "GetCompletion") return std::make_unique<Chat>(false);
  if (method == "GetCompletionChunk") return std::make_unique<Chat>(true);
  return nullptr;
}

}  // namespace penstock::parsers::providers::x_ai
