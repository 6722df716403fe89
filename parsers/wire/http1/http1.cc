#include "parsers/wire/http1/http1.h"

namespace penstock::parsers::wire::http1 {

using http::End;

Connection::Connection(http::Sink& sink, http::Options options)
    : sink_(sink), to_server_(true, options, *this), to_client_(false, options, *this) {}

void Connection::feed(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes) {
  (direction == Direction::kToServer ? to_server_ : to_client_).feed(pos, bytes);
}

Framing Connection::on_head(MessageReader& reader, Framing announced, std::uint64_t pos) {
  return reader.is_request() ? on_request_head(announced, pos) : on_response_head(announced, pos);
}

Framing Connection::on_request_head(Framing announced, std::uint64_t pos) {
  http::RequestHead& head = to_server_.request();
  if (announced == Framing::kInvalid) return announced;
  if (pending_.size() >= limits::kPipelined) {
    // Nobody pipelines that many: the answers are not being seen.
    while (!pending_.empty()) end_response({}, End::kTruncated);
  }
  if (answers_lost_) {
    // A client that does not pipeline has had its earlier answers: they went by unseen.
    while (!pending_.empty()) end_response({}, End::kTruncated);
  }
  const std::string_view host = head.fields.get("host");
  head.authority = host;
  if (!head.target.starts_with('/')) {
    const std::size_t scheme = head.target.find("://");
    if (scheme != std::string::npos) {
      head.authority = head.target.substr(scheme + 3, head.target.find('/', scheme + 3) - (scheme + 3));
    } else if (head.method == "CONNECT") {
      head.authority = head.target;
    }
  }
  request_stream_ = ++last_stream_;
  pending_.push_back({request_stream_, head.method == "HEAD", head.method == "CONNECT"});
  sink_.on_request_head(request_stream_, head, pos);
  return head.method == "CONNECT" ? Framing::kNone : announced;  // RFC 9110 §9.3.6: it has no content
}

Framing Connection::on_response_head(Framing announced, std::uint64_t pos) {
  const http::ResponseHead& head = to_client_.response();
  answers_lost_ = false;
  interim_ = head.status < 200 && head.status != 101;
  if (interim_) {
    if (!pending_.empty()) sink_.on_interim(pending_.front().stream, head);
    return Framing::kNone;
  }
  if (announced == Framing::kInvalid) return announced;
  if (pending_.empty()) pending_.push_back({++last_stream_});
  const Pending& request = pending_.front();
  response_open_ = true;
  sink_.on_response_head(request.stream, head, pos);
  if (head.status == 101 || (request.connect && head.status < 300)) {
    tunnel_ = request.stream;
    to_server_.become_tunnel();
    sink_.on_tunnel_begin(tunnel_, head);
    return Framing::kTunnel;
  }
  if (request.connect) to_server_.leave_tunnel();
  if (request.head || head.status == 204 || head.status == 304) return Framing::kNone;
  return announced;
}

void Connection::on_body(MessageReader& reader, std::span<const std::uint8_t> bytes, std::uint64_t pos) {
  if (reader.is_request()) {
    sink_.on_request_body(request_stream_, bytes, pos);
  } else {
    sink_.on_response_body(pending_.front().stream, bytes, pos);
  }
}

void Connection::on_end(MessageReader& reader, std::uint64_t end_pos) {
  if (reader.is_request()) {
    settled_pos_ = end_pos;
    // What follows is no HTTP unless the server refuses.
    if (to_server_.request().method == "CONNECT") to_server_.become_tunnel();
    sink_.on_request_end(request_stream_, to_server_.trailers(), end_pos);
    return;
  }
  if (interim_) {
    interim_ = false;
    return;
  }
  end_response(to_client_.trailers(), End::kComplete);
}

void Connection::end_response(const http::Fields& trailers, End end) {
  const http::StreamId stream = pending_.front().stream;
  pending_.pop_front();
  response_open_ = false;
  sink_.on_response_end(stream, trailers, end);
}

void Connection::on_invalid(MessageReader& reader, std::string_view why) {
  const Direction direction = reader.is_request() ? Direction::kToServer : Direction::kToClient;
  sink_.on_invalid(direction, why);
  give_up(direction, reader.in_message(), reader.head_seen());
}

void Connection::on_tunnel(MessageReader& reader, std::span<const std::uint8_t> bytes, std::uint64_t pos) {
  sink_.on_tunnel(tunnel_ != 0 ? tunnel_ : request_stream_,
                  reader.is_request() ? Direction::kToServer : Direction::kToClient, bytes, pos);
}

void Connection::give_up(Direction direction, bool in_message, bool head_seen) {
  if (direction == Direction::kToServer) {
    if (in_message && head_seen) sink_.on_loss(request_stream_, direction, 0);
    return;
  }
  answers_lost_ = true;
  interim_ = false;
  if (response_open_) end_response({}, End::kTruncated);
}

void Connection::gap(Direction direction, std::uint64_t bytes) {
  MessageReader& reader = direction == Direction::kToServer ? to_server_ : to_client_;
  const bool in_message = reader.in_message();
  const bool head_seen = reader.head_seen();
  if (!reader.gap(bytes)) {
    give_up(direction, in_message, head_seen);
    return;
  }
  if (tunnel_ != 0) {
    sink_.on_loss(tunnel_, direction, bytes);
  } else if (direction == Direction::kToServer) {
    sink_.on_loss(request_stream_, direction, bytes);
  } else {
    sink_.on_loss(pending_.front().stream, direction, bytes);
  }
}

void Connection::close() {
  const bool ended = to_client_.finish();
  to_server_.finish();
  if (ended && response_open_) end_response({}, End::kComplete);
  while (!pending_.empty()) end_response({}, tunnel_ != 0 ? End::kComplete : End::kTruncated);
  tunnel_ = 0;
}

}  // namespace penstock::parsers::wire::http1
