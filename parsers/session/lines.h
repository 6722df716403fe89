// JSON-RPC over pipes: one message a line, each direction on its own. Reads and writes split and merge lines. What is
// no JSON (a server's stray output) is skipped up to the next line. Not thread-safe.
#pragma once

#include <memory>
#include <string_view>

#include "parsers/dialects/provider.h"
#include "parsers/session/open_turns.h"
#include "parsers/wire/json/digest.h"

namespace penstock::parsers::session {

// Whether the client's first bytes are such a line: kDone, kNeedMore (all blank), kInvalid.
ParseState sniff_line(std::span<const std::uint8_t> bytes);

class Lines {
 public:
  Lines(const Endpoint& endpoint, const AgentProtocol& protocol, std::unique_ptr<Conversation> conversation,
        ExchangeSink& sink);

  void feed(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes, std::uint64_t now_ns);
  void gap(Direction direction, std::uint64_t bytes);
  void close(std::uint64_t now_ns);
  bool request_open() const { return to_server_.open; }
  // Behind the client's last whole line.
  std::uint64_t settled_pos() const { return settled_pos_; }

 private:
  struct Half {
    wire::json::Digest line;
    bool open = false;  // a line has begun
    bool skip = false;  // bytes of it were lost
  };
  void end_line(Direction direction, std::uint64_t end_pos);
  Half& half(Direction direction) { return direction == Direction::kToServer ? to_server_ : to_client_; }

  std::unique_ptr<Conversation> conversation_;
  OpenTurns turns_;
  Half to_server_;
  Half to_client_;
  std::uint64_t settled_pos_ = 0;
};

}  // namespace penstock::parsers::session
