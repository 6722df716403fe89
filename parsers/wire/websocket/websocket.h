// WebSocket (RFC 6455) with permessage-deflate (RFC 7692), both directions: fragments joined into messages, masks
// undone, control frames between fragments, context takeover as negotiated. Messages are passed on in pieces; nothing
// is gathered. After a hole that leaves the frame boundary unknown, or when joined in the middle, reading goes on at
// the next frame that looks like the JSON text that these protocols carry; a compressed stream cannot be taken up again
// while its window is carried from message to message.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "parsers/core/connection_parser.h"
#include "parsers/wire/http/message.h"
#include "parsers/wire/inflate/inflate.h"

namespace penstock::parsers::wire::websocket {

enum class Opcode : std::uint8_t { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

class Sink {
 public:
  virtual ~Sink() = default;
  // `pos`: of the first frame in its direction's plaintext.
  virtual void on_message_begin(Direction direction, Opcode opcode, std::uint64_t pos) = 0;
  virtual void on_message_data(Direction direction, std::span<const std::uint8_t> bytes) = 0;
  // `whole` is false when bytes of the message were lost or did not inflate.
  virtual void on_message_end(Direction direction, bool whole, std::uint64_t end_pos) = 0;
  // A close frame; `code` 0: it has none.
  virtual void on_close(Direction direction, std::uint16_t code) { (void)direction, (void)code; }
  virtual void on_invalid(Direction direction, std::string_view why) { (void)direction, (void)why; }
};

struct Options {
  bool joined = false;
  bool deflate = false;  // permessage-deflate was agreed on
  bool client_no_context_takeover = false;
  bool server_no_context_takeover = false;
};
// From the handshake's answer (Sec-WebSocket-Extensions of the 101, or of an HTTP/2 200).
Options options_of(const http::Fields& response_fields);

class Connection {
 public:
  Connection(Sink& sink, Options options);
  void feed(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes);
  void gap(Direction direction, std::uint64_t bytes);
  void close();
  // A message of the client has begun and not ended, or a frame of it has.
  bool message_open() const { return to_server_.in_message() || !to_server_.between_frames(); }
  // One past the last whole client frame that ended a message or was none (control).
  std::uint64_t settled_pos() const { return to_server_.settled_pos(); }

 private:
  class Half final : private inflate::Output {
   public:
    Half(Direction direction, const Options& options, Sink& sink);
    void feed(std::uint64_t pos, std::span<const std::uint8_t> bytes);
    void gap(std::uint64_t bytes);
    void close();
    bool in_message() const { return in_message_; }
    bool between_frames() const { return state_ == State::kHead && have_ == 0; }
    std::uint64_t settled_pos() const { return settled_pos_; }

   private:
    enum class State : std::uint8_t { kHead, kPayload, kSync };
    void on_inflated(std::span<const std::uint8_t> bytes) override;
    // Bytes of the frame's head, once enough of it is there; 0: more is needed.
    std::size_t head_size() const;
    void head(std::uint64_t after);
    void payload(std::span<const std::uint8_t> bytes);
    void content(std::span<const std::uint8_t> bytes);
    void end_frame(std::uint64_t after);
    void end_message(std::uint64_t after);
    bool plausible() const;
    void sync_byte(std::uint8_t byte, std::uint64_t after);
    void lose(std::string_view why);

    const Direction direction_;
    const bool masked_;
    const bool deflate_;
    const bool takeover_;
    Sink& sink_;
    State state_;
    std::unique_ptr<inflate::RawInflater> inflater_;
    bool window_lost_ = false;
    std::array<std::uint8_t, 16> head_{};  // 14 bytes of head and, for sync, two of content
    std::size_t have_ = 0;
    std::uint64_t remaining_ = 0;
    std::array<std::uint8_t, 4> mask_{};
    std::uint64_t mask_at_ = 0;
    std::uint64_t frame_pos_ = 0;
    std::uint64_t settled_pos_ = 0;
    Opcode opcode_ = Opcode::kText;  // of the frame
    bool fin_ = false;
    bool in_message_ = false;
    bool compressed_ = false;  // the message
    bool whole_ = true;
    std::uint64_t inflated_bytes_ = 0;  // of the message
    std::array<std::uint8_t, 2> close_code_{};
    std::size_t close_have_ = 0;
  };

  Half& half(Direction direction) { return direction == Direction::kToServer ? to_server_ : to_client_; }
  Half to_server_;
  Half to_client_;
};

}  // namespace penstock::parsers::wire::websocket
