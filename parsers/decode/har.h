// HAR 1.2 files (HTTP archives of browsers, proxies and test recorders), and the plaintext streams their entries stand
// for: one connection each.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/core/connection_parser.h"
#include "userspace/base/result.h"

namespace penstock::parsers::decode {

struct HarEntry {
  struct Field {
    std::string name;
    std::string value;
  };
  struct Message {  // of a WebSocket
    bool client;
    std::uint8_t opcode;
    std::string payload;
  };
  std::string id;  // the entry's `_id`, else its position in the file
  Endpoint endpoint;
  std::string method;
  std::string authority;
  std::string target;
  std::vector<Field> request_fields;  // without Host and framing
  std::string request_body;
  bool request_recorded = true;        // false: the recording says that it was made up for the answer
  std::uint32_t status = 0;            // 0: never answered
  std::vector<Field> response_fields;  // without framing
  std::string content;                 // as transferred: still coded if it was
  bool web_socket = false;
  std::vector<Message> messages;

  // The answer has no body, whatever is announced.
  bool bodiless() const { return status < 200 || status == 204 || status == 304 || method == "HEAD"; }
};

// The two byte streams of a connection, and in which order they were seen.
struct Conversation {
  Endpoint endpoint;
  std::string to_server;
  std::string to_client;
  struct Step {
    Direction direction;
    std::size_t end;  // position in its stream up to which it is to be fed
  };
  std::vector<Step> steps;

  void append(Direction direction, std::string_view bytes);
};

// Calls `visit` for each entry in file order. Fails when `text` is no HAR document.
base::Result<> read_har(std::string_view text, const std::function<void(const HarEntry&)>& visit);

// As HTTP/1.1 messages with known lengths, or a WebSocket after its handshake.
Conversation as_http1(const HarEntry& entry);

// Feeds a conversation to a parser in its order and closes it, `piece` bytes at a time (0: as large as they come).
void replay(const Conversation& conversation, ConnectionParser& parser, std::size_t piece = 0);

}  // namespace penstock::parsers::decode
