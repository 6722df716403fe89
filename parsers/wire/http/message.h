// What HTTP/1.1 and HTTP/2 have in common: heads, fields and the events of a connection, so that whoever turns messages
// into exchanges is written once.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/core/connection_parser.h"

namespace penstock::parsers::wire::http {

bool equals_ignoring_case(std::string_view a, std::string_view b);
std::string_view trim(std::string_view text);  // spaces and tabs

// Header or trailer fields in the order they came; names in lower case. Text is kept in one string.
class Fields {
 public:
  struct Field {
    std::string_view name;
    std::string_view value;
  };
  void add(std::string_view name, std::string_view value);
  void extend_last(std::string_view more);  // obs-fold: joined by one space
  void clear();

  std::size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  Field operator[](std::size_t i) const;
  // The first field of that (lower-case) name.
  std::optional<std::string_view> find(std::string_view name) const;
  std::string_view get(std::string_view name) const { return find(name).value_or(std::string_view()); }
  // True when one of the comma-separated values of the fields of that name is `token` (case does not matter).
  bool has_token(std::string_view name, std::string_view token) const;
  // Calls fn(std::string_view) for every comma-separated element of the fields of that name, parameters included.
  template <class Fn>
  void each_element(std::string_view name, Fn&& fn) const {
    for (std::size_t i = 0; i < size(); ++i) {
      const Field field = (*this)[i];
      if (field.name != name) continue;
      std::string_view rest = field.value;
      while (true) {
        const std::size_t comma = rest.find(',');
        const std::string_view element = trim(rest.substr(0, comma));
        if (!element.empty()) fn(element);
        if (comma == std::string_view::npos) break;
        rest.remove_prefix(comma + 1);
      }
    }
  }

 private:
  struct Entry {
    std::uint32_t name_at, name_size, value_at, value_size;
  };
  std::string text_;
  std::vector<Entry> entries_;
};

// The media type of a Content-Type value, lower case and without parameters: "text/event-stream".
std::string media_type(std::string_view content_type);
// A parameter of a Content-Type (or similar) value, unquoted: parameter(v, "boundary"). nullopt: not there.
std::optional<std::string> parameter(std::string_view value, std::string_view name);

struct RequestHead {
  std::string method;
  std::string target;         // as sent: origin form, absolute form, authority form (CONNECT) or *
  std::string authority;      // Host field, :authority or the target's own; may be empty
  std::string protocol;       // HTTP/2 extended CONNECT (:protocol); else empty
  std::uint8_t version = 11;  // 10, 11, 20
  // HTTP/2 joined in mid-connection: a pseudo field was behind an unknown table entry and may be missing.
  bool guessed = false;
  Fields fields;

  std::string_view path() const;   // without query and without scheme and authority
  std::string_view query() const;  // behind the '?'
};

struct ResponseHead {
  std::uint32_t status = 0;
  std::uint8_t version = 11;
  bool guessed = false;
  Fields fields;
};

enum class End : std::uint8_t {
  kComplete,
  kTruncated,  // the connection ended, or bytes were lost and the end was not found
  kReset,      // HTTP/2: RST_STREAM
};

// Identifies one request and its response on a connection: the HTTP/2 stream id, on HTTP/1 a number from 1 upwards.
using StreamId = std::uint64_t;

// Events of one connection. Spans and views die with the call. Order for one stream: request head, body, end; then or
// in between response head, body, end. on_response_end is called exactly once per stream that had a request or response
// head and is its last event, but for what remains of a request that was answered early.
class Sink {
 public:
  virtual ~Sink() = default;
  // `pos`: position of the first byte (of the start line, of the HEADERS frame) in the to-server plaintext.
  virtual void on_request_head(StreamId stream, const RequestHead& head, std::uint64_t pos) = 0;
  // `pos`: position of the first byte in its direction's plaintext.
  virtual void on_request_body(StreamId stream, std::span<const std::uint8_t> bytes, std::uint64_t pos) = 0;
  // The request is complete; `end_pos` is one past its last byte in the to-server plaintext.
  virtual void on_request_end(StreamId stream, const Fields& trailers, std::uint64_t end_pos) = 0;
  // The final answer's head. Streams whose request was not seen begin here.
  virtual void on_response_head(StreamId stream, const ResponseHead& head, std::uint64_t pos) = 0;
  virtual void on_response_body(StreamId stream, std::span<const std::uint8_t> bytes, std::uint64_t pos) = 0;
  virtual void on_response_end(StreamId stream, const Fields& trailers, End end) = 0;
  // `bytes` (0: unknown) of this stream's message in that direction were lost; its body goes on behind the hole.
  virtual void on_loss(StreamId stream, Direction direction, std::uint64_t bytes) = 0;
  // 1xx other than 101.
  virtual void on_interim(StreamId stream, const ResponseHead& head) { (void)stream, (void)head; }
  // 101 or a successful CONNECT: from here on the bytes of both directions are on_tunnel's. The stream has no
  // on_response_end before the tunnel ends: on HTTP/1 with its connection, on HTTP/2 with its stream.
  virtual void on_tunnel_begin(StreamId stream, const ResponseHead& head) { (void)stream, (void)head; }
  virtual void on_tunnel(StreamId stream, Direction direction, std::span<const std::uint8_t> bytes, std::uint64_t pos) {
    (void)stream, (void)direction, (void)bytes, (void)pos;
  }
  // The bytes of a direction are not what they should be, or a bound was passed; `why` is a literal. The parser looks
  // for the next message by itself.
  virtual void on_invalid(Direction direction, std::string_view why) { (void)direction, (void)why; }
};

// Forgives what real peers do; strict is what the conformance vectors are read with.
struct Options {
  bool joined = false;         // the first bytes may be from the middle of a message
  bool bare_line_feed = true;  // heads whose lines end in LF alone (RFC 9112 §2.2)
};

}  // namespace penstock::parsers::wire::http
