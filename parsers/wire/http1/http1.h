// An HTTP/1.x connection, both directions: keep-alive, pipelining, 1xx, 100-continue, HEAD and 204/304, CONNECT and 101
// hand-over, bodies until the end of the connection. Requests and responses are paired in order. After bytes that are
// lost or no HTTP, each direction looks for the next start line by itself; an answer whose request is then unknown gets
// a stream of its own. Memory: the head being read (bounded), one small record per unanswered request (bounded), no
// body bytes. Smuggling: conflicting or repeated lengths, length with transfer coding, a coding that does not end in
// chunked, folded framing fields, bare CR and inexact chunk lines make a request invalid: its end is unknown, so it is
// never reported whole.
#pragma once

#include <cstdint>
#include <deque>
#include <span>

#include "parsers/wire/http/message.h"
#include "parsers/wire/http1/message_reader.h"

namespace penstock::parsers::wire::http1 {

class Connection final : private MessageReader::Events {
 public:
  explicit Connection(http::Sink& sink, http::Options options = {});

  // Positions as in ConnectionParser: ascending and contiguous per direction except after gap().
  void feed(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes);
  void gap(Direction direction, std::uint64_t bytes);
  void close();

  // A request has begun and its end has not been seen.
  bool request_open() const { return to_server_.in_message(); }
  // See ConnectionParser::settled_pos.
  std::uint64_t settled_pos() const { return settled_pos_; }
  bool tunnel() const { return tunnel_ != 0; }

 private:
  struct Pending {
    http::StreamId stream;
    bool head = false;  // no body whatever the answer's head says
    bool connect = false;
  };

  Framing on_head(MessageReader& reader, Framing announced, std::uint64_t pos) override;
  void on_body(MessageReader& reader, std::span<const std::uint8_t> bytes, std::uint64_t pos) override;
  void on_end(MessageReader& reader, std::uint64_t end_pos) override;
  void on_invalid(MessageReader& reader, std::string_view why) override;
  void on_tunnel(MessageReader& reader, std::span<const std::uint8_t> bytes, std::uint64_t pos) override;

  Framing on_request_head(Framing announced, std::uint64_t pos);
  Framing on_response_head(Framing announced, std::uint64_t pos);
  // The message under way in that direction cannot be completed.
  void give_up(Direction direction, bool in_message, bool head_seen);
  void end_response(const http::Fields& trailers, http::End end);

  http::Sink& sink_;
  MessageReader to_server_;
  MessageReader to_client_;
  std::deque<Pending> pending_;  // front: the request whose answer is next or under way
  http::StreamId last_stream_ = 0;
  http::StreamId request_stream_ = 0;  // of the request being read
  http::StreamId tunnel_ = 0;
  bool interim_ = false;        // the response being read is a 1xx
  bool response_open_ = false;  // the final head of pending_.front()'s answer was reported
  bool answers_lost_ = false;   // the to-client direction is looking for a start line
  std::uint64_t settled_pos_ = 0;
};

}  // namespace penstock::parsers::wire::http1
