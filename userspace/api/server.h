// The daemon's HTTP surfaces: the control API on a unix socket, and pages (/metrics, /healthz, /readyz) on that socket
// and on a TCP address.
//
// Threads: one per listener, inside libmicrohttpd; they parse, queue and write, and never touch the daemon's state.
// Each request is posted to the executor and its connection suspended until the answer is there or `answer_timeout_ms`
// is over (504). Bounds: connections, header and body sizes, time for a request to arrive and for an answer to be read,
// lines and bytes queued per stream. What is refused or dropped is counted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "userspace/api/control.h"
#include "userspace/base/result.h"

namespace penstock::api {

inline constexpr char kDefaultSocket[] = "/run/penstock/penstock.sock";

struct Page {
  unsigned status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

// Called on the pipeline thread to collect; what it returns is called on a listener's thread to render, so that a large
// page costs the pipeline no time. A page whose executor does not run within the timeout answers 503: /healthz is alive
// only if the pipeline is.
using PageHandler = std::function<std::function<Page()>()>;
struct Pages {
  PageHandler metrics, healthz, readyz;
};

// Runs the function on the pipeline thread, soon. May drop it (shutdown): the request then times out.
using Executor = std::function<void(std::function<void()>)>;

struct ServerCounters {
  std::uint64_t requests = 0;
  std::uint64_t refused_peers = 0;  // neither root, nor the daemon's user, nor in the socket's group
  std::uint64_t oversized = 0;      // body or headers beyond the limit
  std::uint64_t slow_clients = 0;   // closed: the request did not arrive, or the answer was not read, in time
  std::uint64_t answer_timeouts = 0;
  std::uint64_t dropped_lines = 0;  // of streams whose client reads too slowly
};

class Server {
 public:
  struct Options {
    std::string socket = kDefaultSocket;
    std::string group;                   // owner group of the socket; empty: the daemon's own
    std::string tcp_listen;              // "127.0.0.1:9464", "[::1]:0"; empty: no TCP listener
    std::uint32_t max_connections = 64;  // per listener
    std::uint32_t max_streams = 16;
    std::uint32_t max_body_bytes = 1u << 20;
    std::uint32_t request_timeout_ms = 10'000;  // first byte of a connection -> whole request; also idle keep-alive
    std::uint32_t answer_timeout_ms = 10'000;   // request -> answer of the pipeline
    std::uint32_t write_timeout_ms = 30'000;    // answer -> read by the client (not for streams: they drop instead)
    std::uint32_t stream_queue_lines = 4096;
    std::uint32_t stream_queue_bytes = 4u << 20;
  };

  // Fails with kUnavailable when another daemon answers on the socket or the TCP address is taken, kPrivilege when the
  // socket's folder cannot be written. `control` must outlive the server; what was posted may run after it.
  static base::Result<std::unique_ptr<Server>> start(Options options, Executor executor, Control& control, Pages pages);
  // Answers what is pending with 503, ends streams, removes the socket. On the pipeline thread, not from a handler.
  virtual ~Server() = default;
  virtual ServerCounters counters() const = 0;
  virtual std::uint16_t tcp_port() const = 0;  // 0 without a TCP listener
};

}  // namespace penstock::api
