#include "parsers/session/request_body.h"

#include <algorithm>

namespace penstock::parsers::session {
namespace {

constexpr std::size_t kMaxFieldBytes = 4096;

}  // namespace

RequestBody::RequestBody(const wire::http::Fields& fields, Sink& sink)
    : sink_(sink), decoder_(fields.get("content-encoding"), *this) {
  const std::string type = wire::http::media_type(fields.get("content-type"));
  if (type == "multipart/form-data") {
    form_.emplace(wire::http::parameter(fields.get("content-type"), "boundary").value_or(""),
                  static_cast<wire::multipart::Sink&>(*this));
    mode_ = Mode::kForm;
  } else if (type.starts_with("application/grpc")) {
    grpc_.emplace(fields.get("grpc-encoding"), static_cast<wire::grpc::Sink&>(*this));
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
  if (mode_ == Mode::kForm) form_->feed(bytes);
  if (mode_ == Mode::kGrpc) grpc_->feed({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

void RequestBody::on_message_data(std::span<const std::uint8_t> bytes) {
  sink_.on_request_message({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, false);
}

void RequestBody::on_message_end(bool) { sink_.on_request_message({}, true); }

void RequestBody::on_part_begin(const wire::multipart::Part& part) {
  field_name_ = part.name;
  field_value_.clear();
  field_is_file_ = part.is_file;
}

void RequestBody::on_part_data(std::string_view piece) {
  if (!field_is_file_)
    field_value_.append(piece.substr(0, kMaxFieldBytes - std::min(kMaxFieldBytes, field_value_.size())));
}

void RequestBody::on_part_end(bool whole) {
  // Of a form whose line ends are mixed.
  if (field_value_.ends_with('\r')) field_value_.pop_back();
  if (whole) sink_.on_request_field(field_name_, field_value_);
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
  if (form_) form_->finish();
  if (grpc_) grpc_->finish();
  if (digest_) digest_->finish();
}

wire::json::Value RequestBody::json() const { return digest_ ? digest_->root() : wire::json::Value(); }

}  // namespace penstock::parsers::session
