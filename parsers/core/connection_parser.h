// The contract between whoever has the two plaintext byte streams of a connection (tracker, file decoder) and the
// parsers that turn them into exchanges. Bytes in, events out: no clock, no file descriptor, no thread.
// Not thread-safe: one owner per connection. Memory is bounded per connection (Limits); what is beyond a limit is
// counted and marks the exchange incomplete, never crashes and never guesses.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "userspace/model/exchange.h"

namespace penstock::parsers {

enum class Direction : std::uint8_t { kToServer, kToClient };

// What is known about the connection before its first byte. Values may be empty or 0.
struct Endpoint {
  std::string host;        // SNI or configured name, lower case; an HTTP authority overrides it
  std::uint16_t port = 0;  // destination port
  std::string address;     // textual IP of the server
  bool pipes = false;      // standard input and output of a server, not a socket
  std::string provider;    // from the `endpoints:` configuration; empty: decided by host, path and shape
  // The `endpoints:` configuration by name, "host" or "host:port" -> provider: what a request's authority is looked up
  // in before `provider` is believed. May be null.
  std::shared_ptr<const std::map<std::string, std::string>> names{};
};

// What the stream looks like so far. The owner uses it to stop copying what is of no interest.
enum class Protocol : std::uint8_t {
  kUnknown,  // not enough bytes
  kHttp1,
  kHttp2,
  kWebSocket,
  kJsonRpc,  // newline-delimited JSON-RPC (stdio MCP)
  kOther,    // none of ours: nothing more will be emitted
};

// Receives the events of one connection. `exchange` is owned by the parser and valid until on_complete returns; the
// sink may write identity, verdict and money into it. Ids are assigned by the sink in on_request_head.
class ExchangeSink {
 public:
  virtual ~ExchangeSink() = default;
  // The request head was parsed (provider known or Kind::kHttp).
  virtual void on_request_head(model::Exchange& exchange) = 0;
  // The request is complete, or as complete as it gets before an answer. `end_pos`: position in the to-server plaintext
  // one past the request's last byte: admitting up to it lets this request out and holds the next. Not called for an
  // exchange whose request was not seen (coverage.truncated_start).
  virtual void on_request(model::Exchange& exchange, std::uint64_t end_pos) = 0;
  // More of the answer was understood: usage, output_text_bytes, first-chunk state may have changed.
  virtual void on_progress(model::Exchange& exchange) = 0;
  // Final: answered, failed, cut, or the connection ended. Called exactly once per on_request_head.
  virtual void on_complete(model::Exchange& exchange) = 0;
};

class ConnectionParser {
 public:
  virtual ~ConnectionParser() = default;
  // `pos` of the first byte of `bytes` in this direction's plaintext stream; strictly ascending and contiguous except
  // after gap(). `when_boot_ns`: when the bytes passed the hook.
  virtual void feed(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes,
                    std::uint64_t when_boot_ns) = 0;
  // `bytes` were lost in this direction at this point (0: an unknown number).
  virtual void gap(Direction direction, std::uint64_t bytes) = 0;
  // No more bytes in either direction. Open exchanges are completed (incomplete where the answer had not ended).
  virtual void close(std::uint64_t when_boot_ns) = 0;
  virtual Protocol protocol() const = 0;
  // True while a request has begun and its end has not been seen (the gate waits for more of it).
  virtual bool request_open() const = 0;
  // Fills in what open requests say of themselves so far (kind, provider, model). A body that waits for the server's
  // flow control does not end while it is held: it is judged by its beginning.
  virtual void read_open_requests() = 0;
  // The to-server position up to which bytes were understood as belonging to requests already reported by on_request,
  // or to no request at all (protocol overhead such as HTTP/2 control frames).
  virtual std::uint64_t settled_pos() const = 0;
};

// Observation may begin inside a connection: `joined` says that bytes before pos 0 were not seen.
using ConnectionParserFactory = std::unique_ptr<ConnectionParser> (*)(const Endpoint& endpoint, bool joined,
                                                                      ExchangeSink& sink);

}  // namespace penstock::parsers
