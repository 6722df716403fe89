// The command line's side of the control API: HTTP over the unix socket (libcurl). Not thread-safe; each call blocks.
// Errors of the daemon come back as they were made there: code, message and hint.
#pragma once

#include <google/protobuf/message.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "userspace/api/control.pb.h"
#include "userspace/base/result.h"

namespace penstock::api {

class Client {
 public:
  // `timeout_ms`: for a whole call that is not a stream. Connecting happens per call and is reused.
  explicit Client(std::string socket, long timeout_ms = 15'000);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // The request type decides method and path (control.proto). kUnavailable when no daemon answers.
  base::Result<> call(const google::protobuf::Message& request, google::protobuf::Message& response);
  template <class Response>
  base::Result<Response> call(const google::protobuf::Message& request) {
    Response out;
    PN_CHECK(call(request, out));
    return out;
  }
  // Calls `line` (without newline) until the stream ends or `line` returns false.
  base::Result<> stream(const google::protobuf::Message& request, const std::function<bool(std::string_view)>& line);
  // True if a daemon answers /readyz with 200.
  bool ready();

  const std::string& socket() const { return socket_; }

 private:
  struct Handle;
  std::string socket_;
  std::unique_ptr<Handle> handle_;
};

}  // namespace penstock::api
