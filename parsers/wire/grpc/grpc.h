// The length-prefixed messages of gRPC, gRPC-Web and Connect streams, over a body that arrives in pieces:
//   message = flags(1) length(4, big endian) content(length)
// gRPC knows flag 1 (compressed by grpc-encoding); gRPC-Web adds 0x80 (trailers as text), Connect 0x02 (end of stream
// as JSON). Content is inflated and passed on in pieces; nothing is gathered.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "parsers/wire/inflate/inflate.h"

namespace penstock::parsers::wire::grpc {

inline constexpr std::uint8_t kCompressed = 0x01;
inline constexpr std::uint8_t kConnectEnd = 0x02;
inline constexpr std::uint8_t kWebTrailers = 0x80;

class Sink {
 public:
  virtual ~Sink() = default;
  virtual void on_message_begin(std::uint8_t flags, std::uint32_t length) = 0;
  virtual void on_message_data(std::span<const std::uint8_t> bytes) = 0;
  // `whole` is false when the body ended first, bytes were lost, or the content did not inflate.
  virtual void on_message_end(bool whole) = 0;
};

class MessageReader final : private inflate::Output {
 public:
  // `encoding`: the grpc-encoding (or connect-content-encoding) field; empty: identity.
  MessageReader(std::string_view encoding, Sink& sink) : encoding_(encoding), sink_(sink) {}
  ParseState feed(std::span<const std::uint8_t> bytes);
  void finish();
  // Bytes were lost. Inside a message the message is not whole; otherwise reading cannot go on.
  void gap(std::uint64_t bytes);

 private:
  void on_inflated(std::span<const std::uint8_t> bytes) override { sink_.on_message_data(bytes); }
  void begin();
  void content(std::span<const std::uint8_t> bytes);
  void end();

  std::string encoding_;
  Sink& sink_;
  std::optional<inflate::Decoder> decoder_;
  std::uint8_t head_[5]{};
  std::size_t have_ = 0;
  std::uint32_t remaining_ = 0;
  bool in_message_ = false;
  bool whole_ = true;
  bool invalid_ = false;
};

}  // namespace penstock::parsers::wire::grpc
