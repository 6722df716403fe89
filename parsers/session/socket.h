// A WebSocket that speaks one of our protocols: frames to messages to turns, each turn an exchange of its own. Messages
// that begin no turn (audio, session settings) are settled as soon as they have ended. Not thread-safe.
#pragma once

#include <memory>

#include "parsers/dialects/provider.h"
#include "parsers/session/open_turns.h"
#include "parsers/wire/json/digest.h"
#include "parsers/wire/websocket/websocket.h"

namespace penstock::parsers::session {

class Socket final : wire::websocket::Sink {
 public:
  // `status`: of the answer that opened it.
  Socket(const RequestHead& head, std::uint32_t status, const Provider& provider,
         std::unique_ptr<Conversation> conversation, wire::websocket::Options options, ExchangeSink& sink);

  void feed(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes, std::uint64_t now_ns);
  void gap(Direction direction, std::uint64_t bytes);
  // Turns that are still open end here, incomplete.
  void close(std::uint64_t now_ns);
  bool request_open() const { return connection_.message_open(); }
  std::uint64_t settled_pos() const { return connection_.settled_pos(); }

 private:
  void on_message_begin(Direction direction, wire::websocket::Opcode opcode, std::uint64_t pos) override;
  void on_message_data(Direction direction, std::span<const std::uint8_t> bytes) override;
  void on_message_end(Direction direction, bool whole, std::uint64_t end_pos) override;
  wire::json::Digest& digest(Direction direction) {
    return direction == Direction::kToServer ? to_server_ : to_client_;
  }

  std::unique_ptr<Conversation> conversation_;
  OpenTurns turns_;
  wire::websocket::Connection connection_;
  wire::json::Digest to_server_;
  wire::json::Digest to_client_;
};

}  // namespace penstock::parsers::session
