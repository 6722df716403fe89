// Fields by number, as the published schema has them (package lf.a2a.v1; a2a.v1 differs where said):
//   SendMessageRequest      message 2 (a2a.v1: 1)
//   SendMessageResponse     task 1  message 2        StreamResponse  the same, status_update 3  artifact_update 4
//   Task                    id 1  context_id 2  status 3                    (the answer itself of GetTask and
//   CancelTask) Message                 message_id 1  context_id 2  task_id 3  parts 5 {text 1}  metadata 6
//   TaskStatusUpdateEvent   task_id 1  context_id 2  status 3    TaskArtifactUpdateEvent  task_id 1  context_id 2
//   TaskStatus              state 1
//   metadata                google.protobuf.Struct: fields 1 {key 1  value 2 {string_value 3}}
#include "parsers/protocols/a2a/grpc.h"

#include <string>

#include "parsers/dialects/paths.h"
#include "parsers/dialects/trace.h"
#include "parsers/wire/protobuf/walker.h"

namespace penstock::parsers::protocols::a2a {
namespace {

namespace protobuf = wire::protobuf;

constexpr std::string_view kStates[] = {
    "TASK_STATE_UNSPECIFIED",    "TASK_STATE_SUBMITTED", "TASK_STATE_WORKING",
    "TASK_STATE_COMPLETED",      "TASK_STATE_FAILED",    "TASK_STATE_CANCELED",
    "TASK_STATE_INPUT_REQUIRED", "TASK_STATE_REJECTED",  "TASK_STATE_AUTH_REQUIRED"};

class Request final : public protobuf::Sink {
 public:
  explicit Request(std::uint32_t message) : message_(message) {}
  std::string context;
  std::string traceparent;
  std::uint64_t text_bytes = 0;
  void clear() { *this = Request(message_); }

 private:
  protobuf::Treat on_length(protobuf::Path path, std::uint64_t length) override {
    const std::uint32_t m = message_;
    if (protobuf::is(path, {m, 6, 1})) key_.clear();
    if (protobuf::is(path, {m, 5, 1})) text_bytes += length;
    if (protobuf::is(path, {m}) || protobuf::is(path, {m, 5}) || protobuf::is(path, {m, 6}) ||
        protobuf::is(path, {m, 6, 1}))
      return protobuf::Treat::kEnter;
    if (protobuf::is(path, {m, 2}) || protobuf::is(path, {m, 6, 1, 1})) return protobuf::Treat::kBytes;
    if (key_ != "traceparent") return protobuf::Treat::kSkip;
    if (protobuf::is(path, {m, 6, 1, 2})) return protobuf::Treat::kEnter;
    return protobuf::is(path, {m, 6, 1, 2, 3}) ? protobuf::Treat::kBytes : protobuf::Treat::kSkip;
  }
  void on_varint(protobuf::Path, std::uint64_t) override {}
  void on_bytes(protobuf::Path path, std::string_view piece, bool) override {
    protobuf::append_short(path.size() == 2 ? context : path.size() == 4 ? key_ : traceparent, piece);
  }

  std::uint32_t message_;
  std::string key_;
};

// One message of the answer. Nothing of it is taken over before it has ended whole.
class Answer final : public protobuf::Sink {
 public:
  explicit Answer(bool task) : task_(task) {}
  std::string context;
  std::uint64_t state = 0;
  void clear() { *this = Answer(task_); }

 private:
  // The path inside of what the answer is about: GetTask answers with a task, the others with one of several.
  bool about(protobuf::Path path, std::initializer_list<std::uint32_t> fields) const {
    if (task_) return protobuf::is(path, fields);
    return !path.empty() && path[0] >= 1 && path[0] <= 4 && protobuf::is(path.subspan(1), fields);
  }
  protobuf::Treat on_length(protobuf::Path path, std::uint64_t) override {
    if (about(path, {2})) {
      context.clear();
      return protobuf::Treat::kBytes;
    }
    const bool message = !task_ && path[0] == 2;
    return about(path, {}) || (about(path, {3}) && !message) ? protobuf::Treat::kEnter : protobuf::Treat::kSkip;
  }
  void on_varint(protobuf::Path path, std::uint64_t value) override {
    if (about(path, {3, 1})) state = value;
  }
  void on_bytes(protobuf::Path, std::string_view piece, bool) override { protobuf::append_short(context, piece); }

  bool task_;
};

class Grpc final : public Decoder {
 public:
  Grpc(std::string_view method, bool v1)
      : method_(method), request_(v1 ? 2u : 1u), answer_(method == "GetTask" || method == "CancelTask") {}

  void start(const RequestHead&, model::Exchange& exchange) override {
    exchange.kind = model::Kind::kA2a;
    exchange.operation = method_;
    exchange.stream =
        method_ == "SendStreamingMessage" || method_ == "SubscribeToTask" || method_ == "TaskSubscription";
  }

  void request_message(std::string_view piece, bool last, model::Exchange& exchange) override {
    request_.feed(piece, last);  // as far as it came
    if (!last) return;
    const Request& request = request_.fields();
    if (!request.context.empty()) exchange.conversation_id = request.context;
    exchange.request.text_bytes = request.text_bytes;
    dialects::take_traceparent(request.traceparent, exchange.trace);
  }

  void event(const Event& event, model::Exchange& exchange) override {
    if (event.kind != Event::Kind::kGrpc) return;
    if (!answer_.feed(event.data, event.last) || event.failed) return;
    const Answer& answer = answer_.fields();
    if (!answer.context.empty()) exchange.conversation_id = answer.context;
    if (answer.state != 0)
      exchange.finish_reason =
          answer.state < std::size(kStates) ? std::string(kStates[answer.state]) : std::to_string(answer.state);
  }

 private:
  std::string method_;
  protobuf::Message<Request> request_;
  protobuf::Message<Answer> answer_;
};

}  // namespace

std::unique_ptr<Decoder> open_grpc(std::string_view path) {
  const dialects::Segments segments(path);
  if (!segments.tail(1).ends_with(".A2AService")) return nullptr;
  return std::make_unique<Grpc>(segments.tail(0), segments.tail(1).starts_with("lf."));
}

}  // namespace penstock::parsers::protocols::a2a
