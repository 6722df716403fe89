// AWS event stream (application/vnd.amazon.eventstream): binary messages with headers and two CRC-32.
//   message = total(4) headers_length(4) prelude_crc(4) *header payload message_crc(4)      all big endian
//   header  = name_length(1) name type(1) value
// Headers are gathered (bounded), the payload is passed on in pieces; whether it was right is known at its end, so a
// consumer takes over what a message said only in on_message_end(true). After a broken message or a hole the next
// prelude whose CRC is right is searched for.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "parsers/core/limits.h"
#include "parsers/core/parse_state.h"

namespace penstock::parsers::wire::eventstream {

enum class HeaderType : std::uint8_t {
  kTrue = 0,
  kFalse = 1,
  kByte = 2,
  kShort = 3,
  kInteger = 4,
  kLong = 5,
  kBytes = 6,
  kString = 7,
  kTimestamp = 8,
  kUuid = 9,
};

struct Header {
  std::string_view name;
  HeaderType type = HeaderType::kTrue;
  std::string_view value;  // raw bytes; of a string its text
};

// Views of the headers of one message.
class Headers {
 public:
  explicit Headers(std::span<const Header> headers) : headers_(headers) {}
  // Text of the string header of that name (":event-type", ":message-type", ":exception-type"); empty: there is none.
  std::string_view get(std::string_view name) const;
  auto begin() const { return headers_.begin(); }
  auto end() const { return headers_.end(); }
  std::size_t size() const { return headers_.size(); }

 private:
  std::span<const Header> headers_;
};

class Sink {
 public:
  virtual ~Sink() = default;
  virtual void on_message_begin(const Headers& headers, std::uint32_t payload_bytes) = 0;
  virtual void on_payload(std::span<const std::uint8_t> bytes) = 0;
  virtual void on_message_end(bool valid) = 0;
};

class Parser {
 public:
  explicit Parser(Sink& sink) : sink_(sink) {}
  // kInvalid while no valid prelude is found; reading goes on by itself.
  ParseState feed(std::span<const std::uint8_t> bytes);
  // kDone: between messages. A message that was cut ends with on_message_end(false).
  ParseState finish();
  void gap();
  std::uint64_t invalid_messages() const { return invalid_; }

 private:
  enum class State : std::uint8_t { kPrelude, kHeaders, kPayload, kCrc, kSync };
  bool prelude_valid();
  void take_head(std::span<const std::uint8_t>& bytes, std::size_t size);
  void prelude();
  bool read_headers();
  void headers_complete();
  void fail();

  Sink& sink_;
  State state_ = State::kPrelude;
  std::array<std::uint8_t, 12> head_{};
  std::size_t have_ = 0;
  std::uint32_t headers_bytes_ = 0;
  std::uint32_t payload_bytes_ = 0;
  std::uint32_t remaining_ = 0;
  std::uint32_t crc_ = 0;
  bool begun_ = false;
  std::uint64_t invalid_ = 0;
  std::vector<std::uint8_t> header_bytes_;
  std::vector<Header> headers_;
};

}  // namespace penstock::parsers::wire::eventstream
