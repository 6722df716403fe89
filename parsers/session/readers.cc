#include "parsers/session/readers.h"

#include "parsers/wire/sse/sse.h"

namespace penstock::parsers::session {
namespace {

namespace json = wire::json;

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

std::unique_ptr<ResponseBody::Reader> make_opaque_reader() { return std::make_unique<OpaqueReader>(); }

}  // namespace penstock::parsers::session
