#include "parsers/session/readers.h"

#include "parsers/wire/eventstream/eventstream.h"
#include "parsers/wire/grpc/grpc.h"
#include "parsers/wire/sse/sse.h"

namespace penstock::parsers::session {
namespace {

namespace json = wire::json;

std::span<const std::uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
std::string_view as_text(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// One document, NDJSON, or an array whose elements come one by one.
class JsonReader final : public ResponseBody::Reader, json::ValueSink {
 public:
  JsonReader(json::DigestOptions options, ResponseBody::Sink& sink)
      : sink_(sink), values_(options, json::Values::Split::kElements, *this) {}

  void feed(std::string_view bytes) override {
    if (!broken_) values_.feed(bytes);
  }
  void lost() override {
    // A document with a hole says nothing certain behind it.
    if (!broken_) values_.finish();
    broken_ = true;
  }
  void finish(bool) override {
    if (!broken_) values_.finish();
  }

 private:
  void on_value(const json::Value& value) override {
    Event event;
    event.kind = Event::Kind::kJson;
    event.json = value;
    sink_.on_event(event);
  }

  ResponseBody::Sink& sink_;
  json::Values values_;
  bool broken_ = false;
};

// Server-sent events whose data is JSON, or a word such as [DONE].
class SseReader final : public ResponseBody::Reader, wire::sse::Sink {
 public:
  SseReader(json::DigestOptions options, ResponseBody::Sink& sink) : sink_(sink), digest_(options), parser_(*this) {}

  void feed(std::string_view bytes) override { parser_.feed(bytes); }
  void lost() override {
    parser_.gap();
    digest_.clear();
  }
  void finish(bool whole) override {
    // Without its empty line an event is whole only if the body is, and its JSON.
    whole_ = whole;
    parser_.finish();
  }

 private:
  void on_data(std::string_view piece) override { digest_.feed(piece); }

  void on_field(std::string_view name, std::string_view value, bool) override {
    // Not in the standard, but llama.cpp reports errors in a field of their own.
    if (name != "error") return;
    json::Digest error;
    error.feed(value);
    Event event;
    event.kind = Event::Kind::kSse;
    event.failed = true;
    event.data = value;
    if (error.finish() == ParseState::kDone) event.json = error.root();
    sink_.on_event(event);
  }

  void on_event(const wire::sse::Event& from) override {
    if (from.has_data && (from.terminated || whole_)) {
      Event event;
      event.kind = Event::Kind::kSse;
      event.name = from.type;
      event.data = from.data_head;
      if (digest_.finish() == ParseState::kDone) event.json = digest_.root();
      sink_.on_event(event);
    }
    digest_.clear();
  }

  ResponseBody::Sink& sink_;
  json::Digest digest_;
  wire::sse::Parser parser_;
  bool whole_ = false;
};

// An AWS event stream: each message is one event, once its checksum has proved it. SageMaker's messages are the pieces
// of a body that a container wrote as it likes, events or JSON.
class FrameReader final : public ResponseBody::Reader, wire::eventstream::Sink {
 public:
  FrameReader(json::DigestOptions options, ResponseBody::Sink& sink)
      : sink_(sink), options_(options), digest_(options), parser_(*this) {}

  void feed(std::string_view bytes) override { parser_.feed(as_bytes(bytes)); }
  void lost() override {
    parser_.gap();
    if (body_) body_->lost();
  }
  void finish(bool whole) override {
    parser_.finish();
    if (body_) body_->finish(whole);
  }

 private:
  void on_message_begin(const wire::eventstream::Headers& headers, std::uint32_t) override {
    digest_.clear();
    part_.clear();
    part_bytes_ = 0;
    failed_ = headers.get(":message-type") != "event" && !headers.get(":message-type").empty();
    name_ = headers.get(":event-type");
    if (failed_)
      name_ = !headers.get(":exception-type").empty() ? headers.get(":exception-type") : headers.get(":error-code");
  }
  void on_payload(std::span<const std::uint8_t> bytes) override {
    if (name_ != "PayloadPart") {
      digest_.feed(as_text(bytes));
      return;
    }
    part_bytes_ += bytes.size();
    if (part_bytes_ <= kPartBytes) part_.append(as_text(bytes));
  }
  void on_message_end(bool valid) override {
    if (name_ == "PayloadPart") {
      end_part(valid && part_bytes_ <= kPartBytes);
      return;
    }
    if (!valid) return;
    Event event;
    event.kind = Event::Kind::kFrame;
    event.name = name_;
    event.failed = failed_;
    if (digest_.finish() == ParseState::kDone) event.json = digest_.root();
    sink_.on_event(event);
  }

  void end_part(bool valid) {
    if (!body_) {
      const std::size_t at = part_.find_first_not_of(" \t\r\n");
      if (at == std::string::npos) return;
      const bool document = part_[at] == '{' || part_[at] == '[';
      body_ = document ? make_json_reader(options_, sink_) : make_sse_reader(options_, sink_);
    }
    valid ? body_->feed(part_) : body_->lost();
  }

  static constexpr std::size_t kPartBytes = 1 << 20;  // SageMaker's own limit
  ResponseBody::Sink& sink_;
  json::DigestOptions options_;
  json::Digest digest_;
  wire::eventstream::Parser parser_;
  std::string name_;
  std::string part_;
  std::size_t part_bytes_ = 0;
  std::unique_ptr<ResponseBody::Reader> body_;  // that the parts make up
  bool failed_ = false;
};

class GrpcReader final : public ResponseBody::Reader, wire::grpc::Sink {
 public:
  GrpcReader(std::string_view encoding, ResponseBody::Sink& sink) : sink_(sink), reader_(encoding, *this) {}

  void feed(std::string_view bytes) override { reader_.feed(as_bytes(bytes)); }
  void lost() override { reader_.gap(0); }
  void finish(bool) override { reader_.finish(); }

 private:
  void on_message_begin(std::uint8_t flags, std::uint32_t) override { ours_ = (flags & wire::grpc::kWebTrailers) == 0; }
  void on_message_data(std::span<const std::uint8_t> bytes) override { pass(as_text(bytes), false, false); }
  void on_message_end(bool whole) override { pass({}, true, !whole); }

  void pass(std::string_view piece, bool last, bool failed) {
    if (!ours_) return;
    Event event;
    event.kind = Event::Kind::kGrpc;
    event.data = piece;
    event.last = last;
    event.failed = failed;
    sink_.on_event(event);
  }

  ResponseBody::Sink& sink_;
  wire::grpc::MessageReader reader_;
  bool ours_ = true;
};

class OpaqueReader final : public ResponseBody::Reader {
 public:
  void feed(std::string_view) override {}
  void lost() override {}
  void finish(bool) override {}
};

}  // namespace

std::unique_ptr<ResponseBody::Reader> make_json_reader(json::DigestOptions options, ResponseBody::Sink& sink) {
  return std::make_unique<JsonReader>(options, sink);
}

std::unique_ptr<ResponseBody::Reader> make_sse_reader(json::DigestOptions options, ResponseBody::Sink& sink) {
  return std::make_unique<SseReader>(options, sink);
}

std::unique_ptr<ResponseBody::Reader> make_frame_reader(json::DigestOptions options, ResponseBody::Sink& sink) {
  return std::make_unique<FrameReader>(options, sink);
}

std::unique_ptr<ResponseBody::Reader> make_grpc_reader(std::string_view encoding, ResponseBody::Sink& sink) {
  return std::make_unique<GrpcReader>(encoding, sink);
}

std::unique_ptr<ResponseBody::Reader> make_opaque_reader() { return std::make_unique<OpaqueReader>(); }

}  // namespace penstock::parsers::session
