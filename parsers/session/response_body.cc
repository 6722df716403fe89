#include "parsers/session/response_body.h"

#include <algorithm>

#include "parsers/session/readers.h"
#include "parsers/wire/eventstream/crc32.h"

namespace penstock::parsers::session {
namespace {

// The first bytes that are not white space or a byte order mark.
std::string_view skip_blank(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const std::size_t at = text.find_first_not_of(" \t\r\n");
  return at == std::string_view::npos ? std::string_view{} : text.substr(at);
}

constexpr std::size_t kPreludeBytes = 12;

bool event_stream_prelude(std::string_view start) {
  if (start.size() < kPreludeBytes) return false;
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(start.data()), kPreludeBytes);
  const std::uint32_t announced = static_cast<std::uint32_t>(bytes[8]) << 24 |
                                  static_cast<std::uint32_t>(bytes[9]) << 16 |
                                  static_cast<std::uint32_t>(bytes[10]) << 8 | bytes[11];
  return wire::eventstream::crc32(0, bytes.first(8)) == announced;
}

constexpr std::string_view kSseFields[] = {"data:", "event:", "id:", "retry:", "error:", ":"};

bool sse_start(std::string_view text) {
  return std::any_of(std::begin(kSseFields), std::end(kSseFields),
                     [text](std::string_view field) { return text.starts_with(field); });
}

bool sse_maybe(std::string_view text) {
  return std::any_of(std::begin(kSseFields), std::end(kSseFields),
                     [text](std::string_view field) { return field.starts_with(text); });
}

}  // namespace

ResponseBody::ResponseBody(const wire::http::Fields& fields, wire::json::DigestOptions options, Sink& sink)
    : sink_(sink),
      options_(options),
      media_type_(wire::http::media_type(fields.get("content-type"))),
      grpc_encoding_(fields.get("grpc-encoding")),
      decoder_(fields.get("content-encoding"), *this) {}

void ResponseBody::feed(std::string_view bytes) { decoder_.feed(bytes); }

void ResponseBody::on_content(std::string_view bytes) {
  if (!reader_) {
    if (start_.empty()) {
      reader_ = choose(bytes, false);
      // Blank bytes before the first event only keep the connection alive.
      if (!reader_ && !skip_blank(bytes).empty()) start_.assign(bytes);
    } else {
      start_.append(bytes);
      reader_ = choose(start_, false);
      if (reader_) {
        const std::string start = std::move(start_);
        reader_->feed(start);
      }
      return;
    }
    if (!reader_) return;
  }
  reader_->feed(bytes);
}

std::unique_ptr<ResponseBody::Reader> ResponseBody::choose(std::string_view start, bool last) const {
  if (media_type_ == "application/vnd.amazon.eventstream") return make_frame_reader(options_, sink_);
  if (media_type_.starts_with("application/grpc")) return make_grpc_reader(grpc_encoding_, sink_);
  if (!start.empty() && start.front() == '\0') {
    // No text: an event stream shows itself by the checksum of its first twelve bytes.
    if (start.size() < kPreludeBytes && !last) return nullptr;
    return event_stream_prelude(start) ? make_frame_reader(options_, sink_) : make_opaque_reader();
  }
  const std::string_view text = skip_blank(start);
  if (text.empty()) return nullptr;
  if (text.front() == '{' || text.front() == '[') return make_json_reader(options_, sink_);
  if (sse_start(text)) return make_sse_reader(options_, sink_);
  if (!last && sse_maybe(text)) return nullptr;
  if (media_type_ == "text/event-stream") return make_sse_reader(options_, sink_);
  return make_opaque_reader();
}

void ResponseBody::lost() {
  if (decoder_.coded() || !reader_) {
    reader_ = make_opaque_reader();  // nothing behind the hole can be read
    start_.clear();
  } else {
    reader_->lost();
  }
}

void ResponseBody::finish(bool whole) {
  decoder_.finish();
  if (!reader_ && !start_.empty()) {
    reader_ = choose(start_, true);
    if (reader_) reader_->feed(start_);
  }
  if (reader_) reader_->finish(whole);
}

}  // namespace penstock::parsers::session
