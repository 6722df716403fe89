// HAR 1.2 files (HTTP archives of browsers, proxies and test recorders) as plaintext streams: each entry becomes one
// connection of its own, written as the HTTP/1.1 messages or WebSocket frames it stands for.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "parsers/core/connection_parser.h"
#include "userspace/base/result.h"

namespace penstock::parsers::decode {

struct HarConversation {
  std::string id;          // the entry's `_id`, else its position in the file
  Endpoint endpoint;
  std::string to_server;
  std::string to_client;
  // For a WebSocket the two directions alternate: positions up to which each is to be fed in turn.
  struct Step {
    Direction direction;
    std::size_t end;
  };
  std::vector<Step> steps;
};

// Calls `visit` for each entry in file order. Fails when `text` is no HAR document.
base::Result<> read_har(std::string_view text, const std::function<void(const HarConversation&)>& visit);

// Feeds a conversation to a parser in its order, `piece` bytes at a time (0: as large as they come).
void replay(const HarConversation& conversation, ConnectionParser& parser, std::size_t piece = 0);

}  // namespace penstock::parsers::decode
