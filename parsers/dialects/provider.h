// The contract of a provider: who it is, which hosts are its own, and how one call to it is read. A decoder gets the
// parsed parts of one request and its answer (heads, JSON values, frames) and writes model::Exchange; it never sees a
// socket, a byte position, a clock or another call. Decoders are single-threaded, owned by the session of one
// connection, and must bound what they keep (kMax… in limits.h): the bytes they read are hostile.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/core/connection_parser.h"
#include "parsers/wire/http/message.h"
#include "parsers/wire/json/digest.h"
#include "userspace/model/exchange.h"

namespace penstock::parsers {

using Json = wire::json::Value;

struct RequestHead {
  std::string method;
  std::string host;  // authority without port, lower case; the endpoint's name when the request has none
  std::uint16_t port = 0;
  std::string address;  // textual IP of the server, empty when unknown
  std::string path;     // as sent, without query
  std::string query;    // without "?"
  wire::http::Fields fields;

  std::string_view header(std::string_view name) const { return fields.get(name); }
  bool upgrade_to_websocket() const;
};

struct ResponseHead {
  std::uint32_t status = 0;
  wire::http::Fields fields;

  std::string_view header(std::string_view name) const { return fields.get(name); }
};

// One self-contained piece of an answer. Views die with the call.
struct Event {
  enum class Kind : std::uint8_t {
    kJson,   // a JSON document, a line of NDJSON, or one element of a top-level array
    kSse,    // a server-sent event: name may be empty
    kFrame,  // a message of an AWS event stream: name is :event-type or :exception-type
    kGrpc,   // a piece of a gRPC message in `data`; `last` ends the message, `failed` says that it is not whole
  };
  Kind kind = Kind::kJson;
  std::string_view name;
  std::string_view data;  // the payload as text when it is not JSON; may be cut at a limit
  Json json;              // absent when the payload is not a complete JSON value
  bool failed = false;    // an exception or error frame; an SSE field "error"
  bool last = true;
};

// How far the usage of an exchange can be trusted, once its answer is over.
enum class Settled : std::uint8_t {
  kNo,     // what has been read may grow with the next event: a cut makes it a lower bound
  kAtEnd,  // final if the answer was transported to its end
  kYes,    // the terminal event was seen: nothing more can come
};

// Reads one call. The base class does what all JSON APIs share.
class Decoder {
 public:
  virtual ~Decoder() = default;

  // Once, first. Sets kind, operation, and what the URL says.
  virtual void start(const RequestHead& head, model::Exchange& exchange) = 0;
  // The request's JSON body, whole or as far as it came. False: not the shape this decoder reads, so that an exchange
  // on a host nobody claims is no AI exchange after all.
  virtual bool request(Json body, model::Exchange& exchange);
  // One field of a multipart form; file parts come with an empty value.
  virtual void request_field(std::string_view name, std::string_view value, model::Exchange& exchange);
  // A piece of a gRPC message of the request; `last` ends the message.
  virtual void request_message(std::string_view piece, bool last, model::Exchange& exchange);
  virtual void response(const ResponseHead& head, model::Exchange& exchange);
  // What to keep of the JSON of an answer; strings that matter in full are tapped.
  virtual wire::json::DigestOptions response_options() { return {}; }
  // Each piece of the answer, in order. `exchange` is up to date after each.
  virtual void event(const Event& event, model::Exchange& exchange) = 0;
  // The answer is over; `whole` when it was transported to its end.
  virtual void end(bool whole, model::Exchange& exchange);

  Settled settled() const { return settled_; }

 protected:
  Settled settled_ = Settled::kAtEnd;
};

// Where a turn of a conversation over one long-lived channel (WebSocket) begins and ends: each is an exchange.
class Turns {
 public:
  virtual ~Turns() = default;
  // The request of a turn, sent by the client in the current message. The reference is valid until completed.
  virtual model::Exchange& begin() = 0;
  // Everything the request says is in it: it can be judged.
  virtual void requested(model::Exchange& exchange) = 0;
  virtual void progress(model::Exchange& exchange) = 0;
  virtual void complete(model::Exchange& exchange, model::UsageStatus status) = 0;
};

// Reads the messages of a WebSocket or of a pair of pipes. Turns still open at the end are completed by the session.
class Conversation {
 public:
  virtual ~Conversation() = default;
  virtual void message(Direction direction, Json message, Turns& turns) = 0;
};

// Of which the two sides say different things.
class TwoSided : public Conversation {
 public:
  void message(Direction direction, Json message, Turns& turns) final {
    direction == Direction::kToServer ? from_client(message, turns) : from_server(message, turns);
  }

 private:
  virtual void from_client(Json message, Turns& turns) = 0;
  virtual void from_server(Json message, Turns& turns) = 0;
};

// How strongly a provider claims a request; the strongest wins, then the first in folder order.
enum class Claim : std::uint8_t {
  kNone,
  kAnyHost,  // speaks to hosts nobody knows by name
  kLocal,    // a loopback or literal address
  kPort,     // its well-known port or its own path on such an address
  kPattern,  // a wildcard of its hosts
  kHost,     // one of its hosts by name
  kPath,     // its own path, on whatever host
};

struct Provider {
  std::string_view name;  // OpenTelemetry gen_ai.provider.name, or the documented extension
  // "api.example.com"; "*.example.com": a name below it; "prefix*" and "prefix*suffix": as globs. Lower case.
  std::span<const std::string_view> hosts = {};
  // The decoder for this request; nullptr: no AI exchange (files, model lists, telemetry, …).
  std::unique_ptr<Decoder> (*open)(const RequestHead& head) = nullptr;
  // For providers that are not known by host alone; nullptr: `hosts` decides.
  Claim (*claim)(const RequestHead& head) = nullptr;
  // The reader of a WebSocket opened by this request; nullptr: none.
  std::unique_ptr<Conversation> (*converse)(const RequestHead& head) = nullptr;
  // The port of a provider that is normally self-hosted; 0: none. Shown by `penstock providers`.
  std::uint16_t port = 0;
};

// Why a JSON-RPC request might belong to a protocol, strongest first.
enum class Evidence : std::uint8_t {
  kContent,     // what it says: a method of the protocol, a header field
  kConnection,  // the connection has carried that protocol before
  kNaming,      // its method is named as the protocol names methods
};

// A protocol between agents and tools or other agents. It is not bound to hosts: the head or the shape of the body
// tells.
struct AgentProtocol {
  std::string_view name;  // "mcp", "a2a"
  model::Kind kind;
  // A decoder when the head alone tells (a header or path of the protocol), or nullptr.
  std::unique_ptr<Decoder> (*open)(const RequestHead& head) = nullptr;
  // A decoder when the JSON body of a request tells by that evidence, or nullptr.
  std::unique_ptr<Decoder> (*open_body)(const RequestHead& head, Json body, Evidence evidence) = nullptr;
  // The reader of a pair of pipes that carry it, a message a line; nullptr: not spoken over pipes.
  std::unique_ptr<Conversation> (*converse)() = nullptr;
};

}  // namespace penstock::parsers
