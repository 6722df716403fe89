#include "userspace/api/dispatch.h"

#include <array>

#include "userspace/api/message_json.h"

namespace penstock::api {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::Message;
using google::protobuf::MessageFactory;

template <class T>
struct Signature;
template <class Answer, class Request>
struct Signature<base::Result<Answer> (Control::*)(const Peer&, const Request&)> {
  using RequestType = Request;
  using AnswerType = Answer;
};

template <auto Function>
base::Result<MessagePtr> unary(Control& control, const Peer& peer, const Message& request,
                               std::shared_ptr<LineStream>) {
  using S = Signature<decltype(Function)>;
  PN_TRY(auto answer, (control.*Function)(peer, static_cast<const typename S::RequestType&>(request)));
  return MessagePtr(std::make_unique<typename S::AnswerType>(std::move(answer)));
}

base::Result<MessagePtr> observe(Control& control, const Peer& peer, const Message& request,
                                 std::shared_ptr<LineStream> s) {
  PN_CHECK(control.observe(peer, static_cast<const ObserveRequest&>(request), std::move(s)));
  return MessagePtr();
}

struct Binding {
  std::string_view name;
  decltype(Route::call) call;
};
constexpr auto kBindings = std::to_array<Binding>({
    {"GetStatus", unary<&Control::get_status>},
    {"GetDoctor", unary<&Control::get_doctor>},
    {"Observe", observe},
    {"GetTop", unary<&Control::get_top>},
    {"ListAgents", unary<&Control::list_agents>},
    {"CreateRun", unary<&Control::create_run>},
    {"GetRun", unary<&Control::get_run>},
    {"FinishRun", unary<&Control::finish_run>},
    {"ListBudgets", unary<&Control::list_budgets>},
    {"SetBudget", unary<&Control::set_budget>},
    {"ResetBudget", unary<&Control::reset_budget>},
    {"Kill", unary<&Control::kill>},
    {"Release", unary<&Control::release>},
    {"ListKills", unary<&Control::list_kills>},
    {"ListHeld", unary<&Control::list_held>},
    {"CheckPolicy", unary<&Control::check_policy>},
    {"ApplyPolicy", unary<&Control::apply_policy>},
    {"ListPolicies", unary<&Control::list_policies>},
    {"RemovePolicy", unary<&Control::remove_policy>},
    {"ListCoverage", unary<&Control::list_coverage>},
    {"GetGraph", unary<&Control::get_graph>},
    {"ListCounters", unary<&Control::list_counters>},
    {"ListPrices", unary<&Control::list_prices>},
});

std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> out;
  while (!path.empty() && path.front() == '/') {
    path.remove_prefix(1);
    const std::size_t end = std::min(path.find('/'), path.size());
    out.emplace_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return out;
}

bool is_field(std::string_view segment) {
  return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

std::vector<Route> build() {
  const auto* service = Status::descriptor()->file()->FindServiceByName("Control");
  if (service == nullptr) PN_BUG("control.proto has no service Control");
  std::vector<Route> out;
  for (int i = 0; i < service->method_count(); ++i) {
    const auto* method = service->method(i);
    const HttpRule& rule = method->options().GetExtension(http);
    Route route;
    route.name = method->name();
    route.method = rule.method();
    route.path = rule.path();
    route.segments = split_path(rule.path());
    route.stream = method->server_streaming();
    route.request = MessageFactory::generated_factory()->GetPrototype(method->input_type());
    route.response = MessageFactory::generated_factory()->GetPrototype(method->output_type());
    for (const Binding& binding : kBindings)
      if (binding.name == method->name()) route.call = binding.call;
    if (route.call == nullptr || route.segments.empty()) PN_BUG("an rpc of control.proto has no binding or no path");
    out.push_back(std::move(route));
  }
  if (out.size() != kBindings.size()) PN_BUG("a binding has no rpc in control.proto");
  return out;
}

}  // namespace

const std::vector<Route>& routes() {
  static const std::vector<Route> table = build();
  return table;
}

const Route& route_of(const Descriptor& request) {
  for (const Route& route : routes())
    if (route.request->GetDescriptor() == &request) return route;
  PN_BUG("not a request of the control API");
}

std::string percent_decode(std::string_view text) {
  const auto hex = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
      out += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

RouteMatch match_route(std::string_view method, std::string_view path) {
  const std::vector<std::string> segments = split_path(path);
  RouteMatch out;
  for (const Route& route : routes()) {
    if (route.segments.size() != segments.size()) continue;
    std::vector<std::pair<std::string, std::string>> fields;
    bool same = true;
    for (std::size_t i = 0; same && i < segments.size(); ++i) {
      const std::string& want = route.segments[i];
      if (is_field(want)) {
        same = !segments[i].empty();
        fields.emplace_back(want.substr(1, want.size() - 2), percent_decode(segments[i]));
      } else {
        same = want == segments[i];
      }
    }
    if (!same) continue;
    out.path_known = true;
    if (route.method != method) continue;
    out.route = &route;
    out.fields = std::move(fields);
    return out;
  }
  return out;
}

unsigned http_status(base::ErrorCode code) {
  switch (code) {
    case base::ErrorCode::kUsage:
      return 400;
    case base::ErrorCode::kPrivilege:
      return 403;
    case base::ErrorCode::kNotFound:
      return 404;
    case base::ErrorCode::kUnsupported:
      return 501;
    case base::ErrorCode::kUnavailable:
      return 503;
    case base::ErrorCode::kFailure:
      break;
  }
  return 500;
}

std::string error_json(const base::Error& error) {
  ErrorReply reply;
  reply.mutable_error()->set_code(static_cast<int>(error.code));
  reply.mutable_error()->set_what(error.message());
  if (!error.hint.empty()) reply.mutable_error()->set_hint(error.hint);
  return to_json(reply);
}

}  // namespace penstock::api
