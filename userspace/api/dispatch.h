// The route table of `service Control` (control.proto) tied to the functions of Control. Immutable; thread-safe, except
// call(), which belongs to the pipeline thread like Control itself.
#pragma once

#include <google/protobuf/message.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace/api/control.h"
#include "userspace/base/result.h"

namespace penstock::api {

using MessagePtr = std::unique_ptr<google::protobuf::Message>;

struct Route {
  std::string name;                   // of the rpc
  std::string method;                 // GET, POST, DELETE
  std::vector<std::string> segments;  // "v1", "runs", "{run}"
  std::string path;                   // as written in the schema
  bool stream = false;
  const google::protobuf::Message* request = nullptr;  // prototypes
  const google::protobuf::Message* response = nullptr;
  base::Result<MessagePtr> (*call)(Control&, const Peer&, const google::protobuf::Message& request,
                                   std::shared_ptr<LineStream>) = nullptr;
};

const std::vector<Route>& routes();
const Route& route_of(const google::protobuf::Descriptor& request);  // for clients: one request type, one route

// %XX decoded; "+" stays. Malformed escapes are kept as they are.
std::string percent_decode(std::string_view text);

struct RouteMatch {
  const Route* route = nullptr;                             // null: no such path
  bool path_known = false;                                  // the path exists with another method
  std::vector<std::pair<std::string, std::string>> fields;  // from {field} segments
};
// `path` is still percent-encoded: a run id may hold a "/".
RouteMatch match_route(std::string_view method, std::string_view path);

// Error codes travel as HTTP status and in the body; the client restores them from the body.
unsigned http_status(base::ErrorCode code);
std::string error_json(const base::Error& error);

}  // namespace penstock::api
