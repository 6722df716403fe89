// Which provider or protocol a request belongs to, and who reads it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::session {

struct Selection {
  const Provider* provider = nullptr;  // null: nobody's host, or an agent protocol
  const AgentProtocol* protocol = nullptr;
  std::unique_ptr<Decoder> decoder;  // null: no AI exchange as far as the head tells
  bool provisional = false;          // the host is nobody's: the request body must confirm
};

// The strongest claim on a request, and whose it is; among equals the first in folder order.
struct Claimed {
  const Provider* provider = nullptr;
  Claim claim = Claim::kNone;
  std::size_t order = 0;
};

// Selects for the requests of one connection. What an authority says is looked up once: they rarely differ in it.
class Selector {
 public:
  explicit Selector(const Endpoint& endpoint) : endpoint_(endpoint) {}
  // By the `endpoints:` configuration, the host, the path and the header fields.
  Selection select(const RequestHead& head);

 private:
  const Endpoint& endpoint_;
  bool asked_ = false;
  std::string host_;  // of the last request, and its port
  std::uint16_t port_ = 0;
  Claimed by_host_;
};

// A second look for requests that the head did not settle: does the body show an agent protocol? `before`: the protocol
// that the connection has carried; may be null.
Selection select_by_body(const RequestHead& head, Json body, const AgentProtocol* before);
// Whose host it is; null: nobody's by name.
const Provider* select_host(std::string_view configured, const RequestHead& head);
// Whose server is asked for by this name alone (the SNI of a connection): of the configuration, else of a provider's
// hosts; empty: nobody's.
std::string_view provider_of_server(const Endpoint& endpoint, std::string_view name);
// The WebSocket that this request opens; null: none of ours.
std::unique_ptr<Conversation> select_conversation(std::string_view configured, const RequestHead& head,
                                                  const Provider** provider);
// The protocol that speaks JSON-RPC over pipes; null: there is none.
std::unique_ptr<Conversation> select_line_protocol(const AgentProtocol** protocol);

}  // namespace penstock::parsers::session
