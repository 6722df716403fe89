// The body of a request: content decoding, then JSON into a digest, form fields, or gRPC messages. Bounded by the
// digest.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "parsers/session/content.h"
#include "parsers/wire/grpc/grpc.h"
#include "parsers/wire/http/message.h"
#include "parsers/wire/json/digest.h"
#include "parsers/wire/multipart/multipart.h"

namespace penstock::parsers::session {

class RequestBody final : ContentDecoder::Sink, wire::grpc::Sink, wire::multipart::Sink {
 public:
  struct Sink {
    virtual ~Sink() = default;
    virtual void on_request_field(std::string_view name, std::string_view value) = 0;
    virtual void on_request_message(std::string_view piece, bool last) = 0;
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
  void on_message_begin(std::uint8_t, std::uint32_t) override {}
  void on_message_data(std::span<const std::uint8_t> bytes) override;
  void on_message_end(bool whole) override;
  void on_part_begin(const wire::multipart::Part& part) override;
  void on_part_data(std::string_view piece) override;
  void on_part_end(bool whole) override;

  Sink& sink_;
  Mode mode_ = Mode::kUndecided;
  ContentDecoder decoder_;
  std::optional<wire::grpc::MessageReader> grpc_;
  std::optional<wire::multipart::Parser> form_;
  std::string field_name_;
  std::string field_value_;  // bounded: model names, flags; files are not kept
  bool field_is_file_ = false;
  std::optional<wire::json::Digest> digest_;
  std::uint64_t decoded_bytes_ = 0;
  bool broken_ = false;
};

}  // namespace penstock::parsers::session
