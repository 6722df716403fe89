// One direction of an HTTP/1 connection: start line, fields, framing, body. Knows nothing of the other direction;
// whoever owns both answers the two questions that need it (does this response have a body, has the connection become a
// tunnel).
//
//   state     | bytes                    | next
//   ----------+--------------------------+------------------------------------------------------------
//   start     | CRLF* then a start line  | fields; anything else is invalid -> sync
//   fields    | field lines, empty line  | body by the framing that the head announces
//   body      | `remaining_` bytes       | start
//   chunk ... | size, data, CRLF         | trailers after the chunk of size 0 -> start
//   until end | everything               | ended by finish()
//   sync      | anything                 | fields, at something that looks like a start line
//   tunnel    | everything               | never left
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "parsers/core/limits.h"
#include "parsers/core/parse_state.h"
#include "parsers/wire/http/message.h"

namespace penstock::parsers::wire::http1 {

// How the body of a message is framed (RFC 9112 §6.3).
enum class Framing : std::uint8_t { kNone, kLength, kChunked, kUntilEnd, kTunnel, kInvalid };

class MessageReader {
 public:
  struct Events {
    virtual ~Events() = default;
    // Returns how the body is framed; `announced` is what the head says by itself.
    virtual Framing on_head(MessageReader& reader, Framing announced, std::uint64_t pos) = 0;
    virtual void on_body(MessageReader& reader, std::span<const std::uint8_t> bytes, std::uint64_t pos) = 0;
    virtual void on_end(MessageReader& reader, std::uint64_t end_pos) = 0;
    // The message that had begun (in_message()) is given up, `bytes` lost or not understood.
    virtual void on_invalid(MessageReader& reader, std::string_view why) = 0;
    virtual void on_tunnel(MessageReader& reader, std::span<const std::uint8_t> bytes, std::uint64_t pos) = 0;
  };

  MessageReader(bool request, const http::Options& options, Events& events);

  void feed(std::uint64_t pos, std::span<const std::uint8_t> bytes);
  // `bytes` are missing (0: an unknown number). True: they were all inside the body of the message, which goes on.
  bool gap(std::uint64_t bytes);
  // The direction has ended. True: the message that was being read ended with it (a body until the end).
  bool finish();

  // From the next byte on everything is on_tunnel's.
  void become_tunnel() { state_ = State::kTunnel; }
  void leave_tunnel() {
    if (state_ == State::kTunnel) state_ = State::kStart;
  }

  bool is_request() const { return request_; }
  bool in_message() const { return state_ >= State::kLine && state_ <= State::kUntilEnd && !tentative_; }
  bool head_seen() const { return state_ >= State::kBody && state_ <= State::kUntilEnd; }
  // Between messages, with nothing of the next one seen.
  bool idle() const { return state_ == State::kStart && line_.empty(); }

  // The head; valid in on_head and until the next one begins. One of them is used.
  http::RequestHead& request() { return request_head_; }
  http::ResponseHead& response() { return response_head_; }
  http::Fields& trailers() { return trailers_; }
  bool close_announced() const { return close_; }

 private:
  enum class State : std::uint8_t {
    kSync,
    kStart,
    kLine,
    kBody,
    kChunkSize,
    kChunkExtension,
    kChunkSizeLf,
    kChunkData,
    kChunkCr,
    kChunkLf,
    kTrailers,
    kUntilEnd,
    kTunnel,
    kClosed,
  };

  const std::uint8_t* step(const std::uint8_t* p, const std::uint8_t* end);
  const std::uint8_t* head_bytes(const std::uint8_t* p, const std::uint8_t* end);
  const std::uint8_t* body_bytes(const std::uint8_t* p, const std::uint8_t* end);
  const std::uint8_t* chunk_size(const std::uint8_t* p, const std::uint8_t* end);
  bool chunk_extension(char c);
  void begin_message(std::uint64_t pos);
  // `after`: one past the line's end.
  void head_line(std::string_view text, const std::uint8_t* after);
  void sync_line(std::string_view text, const std::uint8_t* after);
  bool request_line(std::string_view text);
  bool status_line(std::string_view text);
  // Each returns a reason, or nothing when the line is fine.
  std::string_view start_line(std::string_view text);
  std::string_view field_line(std::string_view text);
  Framing announced_framing();
  void begin_body(Framing framing, const std::uint8_t* after);
  void end_message(const std::uint8_t* after);
  void begin_sync();
  void invalid(std::string_view why);
  http::Fields& fields() { return request_ ? request_head_.fields : response_head_.fields; }
  std::uint64_t pos_of(const std::uint8_t* p) const { return pos_ + static_cast<std::uint64_t>(p - begin_); }

  const bool request_;
  const http::Options options_;
  Events& events_;
  State state_;
  bool tentative_ = false;  // found by sync: not reported before the head is whole
  bool close_ = false;      // this message is the last one
  bool first_line_ = true;
  std::uint8_t size_digits_ = 0;  // of the chunk size
  enum class Extension : std::uint8_t { kName, kInName, kValue, kInValue, kQuoted, kEscaped, kAfterQuoted };
  Extension extension_ = Extension::kName;
  std::uint64_t remaining_ = 0;
  std::uint64_t message_pos_ = 0;
  std::size_t head_bytes_ = 0;
  std::string line_;  // a line cut by the end of a piece
  http::RequestHead request_head_;
  http::ResponseHead response_head_;
  http::Fields trailers_;
  const std::uint8_t* begin_ = nullptr;
  std::uint64_t pos_ = 0;
};

// Whether bytes that a client sends first can be an HTTP/1 request: kDone yes, kNeedMore perhaps, kInvalid no. The
// HTTP/2 preface is no HTTP/1 request.
ParseState sniff_request(std::span<const std::uint8_t> bytes);
ParseState sniff_response(std::span<const std::uint8_t> bytes);

}  // namespace penstock::parsers::wire::http1
