// The body of a request: content decoding, then JSON into a digest, form fields, or gRPC messages. Bounded by the digest.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "parsers/session/content.h"
#include "parsers/wire/http/message.h"
#include "parsers/wire/json/digest.h"

namespace penstock::parsers::session {

class RequestBody final : ContentDecoder::Sink {
 public:
  struct Sink {
    virtual ~Sink() = default;
    virtual void on_request_field(std::string_view name, std::string_view value) = 0;
    virtual void on_request_message(std::string_view bytes) = 0;
  };

  RequestBody(const wire::http::Fields& fields, Sink& sink);
  void feed(std::string_view bytes);
  // Bytes are missing: what follows cannot be joined to what came before.
  void lost() { broken_ = true; }
  void finish();

  // The document as far as it came; absent when the body is not JSON.
  wire::json::Value json() const;
  std::uint64_t decoded_bytes() const { return decoded_bytes_; }

 private:
  enum class Mode : std::uint8_t { kUndecided, kJson, kForm, kGrpc, kOpaque };
  void on_content(std::string_view bytes) override;
  void decide(std::string_view bytes);

  Sink& sink_;
  Mode mode_ = Mode::kUndecided;
  std::string boundary_;
  ContentDecoder decoder_;
  std::optional<wire::json::Digest> digest_;
  std::uint64_t decoded_bytes_ = 0;
  bool broken_ = false;
};

}  // namespace penstock::parsers::session
