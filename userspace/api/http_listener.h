// One listening socket served by libmicrohttpd with one thread: requests in whole, answers from any thread, streams
// through bounded queues. Knows nothing of routes. The bounds and their counters are those of Server::Options.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "userspace/api/control.h"
#include "userspace/base/fd.h"
#include "userspace/base/result.h"

namespace penstock::api {

struct HttpRequest {
  std::string method;
  std::string path;                                        // percent-encoded, without the query
  std::vector<std::pair<std::string, std::string>> query;  // decoded
  std::string body;
  int connection = -1;  // valid only during the handler's call
};

struct HttpReply {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::function<void(HttpReply&)> render;  // if set: run on the listener's thread before the answer is sent
  bool stream = false;                     // the answer is the request's stream
};

class HttpListener {
 public:
  struct Options {
    std::uint32_t max_connections;
    std::uint32_t max_streams;
    std::uint32_t max_body_bytes;
    std::uint32_t request_timeout_ms;
    std::uint32_t answer_timeout_ms;
    std::uint32_t write_timeout_ms;
    std::uint32_t stream_queue_lines;
    std::uint32_t stream_queue_bytes;
  };
  struct Counters {
    std::atomic<std::uint64_t> requests{0}, oversized{0}, slow_clients{0}, answer_timeouts{0}, dropped_lines{0};
  };

  // One request in progress. Thread-safe; later answers than the first are ignored.
  class Exchange {
   public:
    virtual ~Exchange() = default;
    virtual void respond(HttpReply reply) = 0;
    // The stream to hand out before respond({.stream = true}); null when all stream slots are taken.
    virtual std::shared_ptr<LineStream> stream() = 0;
  };
  // Called on the listener's thread; must not block. Answers now or later, or is answered 504 in its place.
  using Handler = std::function<void(HttpRequest, std::shared_ptr<Exchange>)>;

  // `listening` stays the caller's and must outlive the listener.
  static base::Result<std::unique_ptr<HttpListener>> start(int listening, const Options& options, Handler handler);
  virtual ~HttpListener() = default;
  virtual const Counters& counters() const = 0;
};

}  // namespace penstock::api
