// The body of an answer: content decoding, then events. What it is is decided by its first bytes; the content type is
// only a hint, since servers send event streams as JSON and errors as event streams.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "parsers/dialects/provider.h"
#include "parsers/session/content.h"
#include "parsers/wire/http/message.h"
#include "parsers/wire/json/digest.h"

namespace penstock::parsers::session {

class ResponseBody final : ContentDecoder::Sink {
 public:
  struct Sink {
    virtual ~Sink() = default;
    virtual void on_event(const Event& event) = 0;
  };
  // One format of a body.
  class Reader {
   public:
    virtual ~Reader() = default;
    virtual void feed(std::string_view bytes) = 0;
    virtual void lost() = 0;
    // `whole`: the body was transported to its end, so that an event without its terminator counts.
    virtual void finish(bool whole) = 0;
  };

  ResponseBody(const wire::http::Fields& fields, wire::json::DigestOptions options, Sink& sink);
  void feed(std::string_view bytes);
  void lost();
  void finish(bool whole);

 private:
  void on_content(std::string_view bytes) override;
  std::unique_ptr<Reader> choose(std::string_view start, bool last) const;

  Sink& sink_;
  wire::json::DigestOptions options_;
  std::string media_type_;
  std::string grpc_encoding_;
  ContentDecoder decoder_;
  std::string start_;  // the first bytes, until they tell the format
  std::unique_ptr<Reader> reader_;
};

}  // namespace penstock::parsers::session
