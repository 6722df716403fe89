// The Agent2Agent protocol: JSON-RPC (v0.x and v1.0), REST and gRPC bindings (v1.0), and the discovery of agent cards.
#include <algorithm>
#include <string>

#include "parsers/dialects/facts.h"
#include "parsers/dialects/json_rpc.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/trace.h"
#include "parsers/protocols/a2a/grpc.h"

namespace penstock::parsers::protocols {
namespace {

constexpr std::string_view kRpcMethods[] = {
    // v0.x
    "message/send",
    "message/stream",
    "tasks/resubscribe",
    "agent/getAuthenticatedExtendedCard",
    "agent/authenticatedExtendedCard",
    "tasks/send",
    "tasks/sendSubscribe",
    // v1.0
    "SendMessage",
    "SendStreamingMessage",
    "GetTask",
    "ListTasks",
    "CancelTask",
    "SubscribeToTask",
    "GetExtendedAgentCard",
    "CreateTaskPushNotificationConfig",
    "GetTaskPushNotificationConfig",
    "ListTaskPushNotificationConfigs",
    "ListTaskPushNotificationConfig",
    "DeleteTaskPushNotificationConfig",
};

bool is_rpc_method(std::string_view method) {
  return std::find(std::begin(kRpcMethods), std::end(kRpcMethods), method) != std::end(kRpcMethods) ||
         method.starts_with("tasks/pushNotificationConfig/");
}

// tasks/get, tasks/list and tasks/cancel are methods of MCP too: there a task is named by taskId.
bool is_shared_method(Json message) {
  const std::string_view method = message["method"].string_or("");
  if (method != "tasks/get" && method != "tasks/cancel" && method != "tasks/list") return false;
  return message["params"]["id"].exists();
}

// The REST binding: its custom methods, and tasks where a header or content type has told the protocol.
std::string_view rest_method(const RequestHead& head, bool certain) {
  const dialects::Segments path(head.path);
  const std::string_view last = path.tail(0);
  const bool post = head.method == "POST";
  if (post && last == "message:send") return "SendMessage";
  if (post && last == "message:stream") return "SendStreamingMessage";
  const bool task = path.tail(1) == "tasks";
  if (task && post && last.ends_with(":cancel")) return "CancelTask";
  if (task && last.ends_with(":subscribe")) return "SubscribeToTask";
  if (!certain) return {};
  const bool get = head.method == "GET";
  if (path.tail(2) == "tasks" && last == "pushNotificationConfigs")
    return post ? "CreateTaskPushNotificationConfig" : "ListTaskPushNotificationConfigs";
  if (path.tail(1) == "pushNotificationConfigs")
    return head.method == "DELETE" ? "DeleteTaskPushNotificationConfig" : "GetTaskPushNotificationConfig";
  if (get && last == "tasks") return "ListTasks";
  if (get && task) return "GetTask";
  if (get && last == "extendedAgentCard") return "GetExtendedAgentCard";
  return {};
}

class A2a final : public Decoder {
 public:
  explicit A2a(std::string_view operation) : operation_(operation) {}

  void start(const RequestHead&, model::Exchange& exchange) override {
    exchange.kind = model::Kind::kA2a;
    exchange.operation = std::string(operation_);
  }

  bool request(Json body, model::Exchange& exchange) override {
    if (dialects::is_json_rpc(body)) {
      if (const std::string_view method = dialects::first_method(body); !method.empty())
        exchange.operation = std::string(method);
      body = body["params"];
    }
    dialects::take_string(body["message"]["contextId"], exchange.conversation_id);
    for (const Json metadata : {body["metadata"], body["message"]["metadata"]})
      dialects::take_traceparent(dialects::string_of(metadata["traceparent"]).value_or(""), exchange.trace);
    return true;
  }

  void response(const ResponseHead& head, model::Exchange& exchange) override {
    exchange.stream = wire::http::media_type(head.header("content-type")) == "text/event-stream";
  }

  void event(const Event& event, model::Exchange& exchange) override {
    if (event.kind == Event::Kind::kSse) exchange.stream = true;
    dialects::note_rpc_error(event.json, exchange.stream, exchange);
    const Json result = event.json["result"].exists() ? event.json["result"] : event.json;
    for (Json part : {result, result["task"], result["message"], result["statusUpdate"], result["artifactUpdate"]}) {
      dialects::take_string(part["contextId"], exchange.conversation_id);
      if (const auto state = dialects::string_of(part["status"]["state"])) exchange.finish_reason = std::string(*state);
    }
  }

 private:
  std::string operation_;
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  const dialects::Segments path(head.path);
  if (head.method == "GET" && path.tail(1) == ".well-known" &&
      (path.tail(0) == "agent-card.json" || path.tail(0) == "agent.json"))
    return std::make_unique<A2a>("GetAgentCard");
  if (auto decoder = a2a::open_grpc(head.path)) return decoder;
  const bool certain = !head.header("a2a-version").empty() || !head.header("a2a-extensions").empty() ||
                       wire::http::media_type(head.header("content-type")) == "application/a2a+json" ||
                       wire::http::media_type(head.header("accept")) == "application/a2a+json";
  if (const std::string_view method = rest_method(head, certain); !method.empty()) return std::make_unique<A2a>(method);
  return nullptr;
}

std::unique_ptr<Decoder> open_body(const RequestHead& head, Json body, Evidence evidence) {
  if (!dialects::is_json_rpc(body) || evidence == Evidence::kNaming) return nullptr;
  if (evidence == Evidence::kConnection || is_rpc_method(dialects::first_method(body)) || is_shared_method(body) ||
      !head.header("a2a-version").empty())
    return std::make_unique<A2a>("");
  return nullptr;
}

}  // namespace

extern const AgentProtocol k_a2a;
const AgentProtocol k_a2a{
    .name = "a2a",
    .kind = model::Kind::kA2a,
    .open = open,
    .open_body = open_body,
};

}  // namespace penstock::parsers::protocols
