#include "parsers/session/request_body.h"

namespace penstock::parsers::session {

RequestBody::RequestBody(const wire::http::Fields& fields, Sink& sink) : sink_(sink), decoder_(fields.get("content-encoding"), *this) {
  const std::string type = wire::http::media_type(fields.get("content-type"));
  if (type == "multipart/form-data") {
    boundary_ = wire::http::parameter(fields.get("content-type"), "boundary").value_or("");
    mode_ = Mode::kForm;
  } else if (type.starts_with("application/grpc")) {
    mode_ = Mode::kGrpc;
  }
}

void RequestBody::feed(std::string_view bytes) {
  if (!broken_) decoder_.feed(bytes);
}

void RequestBody::on_content(std::string_view bytes) {
  decoded_bytes_ += bytes.size();
  if (mode_ == Mode::kUndecided) decide(bytes);
  if (mode_ == Mode::kJson) digest_->feed(bytes);
}

void RequestBody::decide(std::string_view bytes) {
  const std::size_t at = bytes.find_first_not_of(" \t\r\n");
  if (at == std::string_view::npos) return;
  // A byte order mark is no JSON, but some clients send one.
  const char first = bytes[at];
  if (first == '{' || first == '[') {
    mode_ = Mode::kJson;
    digest_.emplace();
  } else {
    mode_ = Mode::kOpaque;
  }
}

void RequestBody::finish() {
  decoder_.finish();
  if (digest_) digest_->finish();
}

wire::json::Value RequestBody::json() const { return digest_ ? digest_->root() : wire::json::Value(); }

}  // namespace penstock::parsers::session
