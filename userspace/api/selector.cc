#include "userspace/api/selector.h"

#include <fmt/format.h>

#include "userspace/api/message_json.h"

namespace penstock::api {
namespace {

constexpr char kHint[] =
    "a selector is all, or one of agent= run= user= exe= cgroup= unit= namespace= pod= container= model= provider= pid= exchange=";

// A cgroup selects everything below it.
bool below(std::string_view path, std::string_view root) {
  if (root == "/") return true;
  return path.starts_with(root) && (path.size() == root.size() || path[root.size()] == '/');
}

}  // namespace

base::Result<Selector> parse_selector(std::string_view text) {
  Selector out;
  if (text == "all") {
    out.set_all(true);
    return out;
  }
  const std::size_t equals = text.find('=');
  const auto bad = [&] { return base::Error{base::ErrorCode::kUsage, 0, fmt::format("unknown selector \"{}\"", text), kHint}; };
  if (equals == std::string_view::npos || equals + 1 == text.size()) return bad();
  const std::string_view kind = text.substr(0, equals);
  if (kind == "all" || !set_field(out, kind, text.substr(equals + 1))) return bad();
  return out;
}

std::string format_selector(const Selector& selector) {
  if (selector.target_case() == Selector::TARGET_NOT_SET) return {};
  if (selector.all()) return "all";
  const auto* field = selector.GetReflection()->GetOneofFieldDescriptor(selector, Selector::descriptor()->oneof_decl(0));
  if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_STRING)
    return fmt::format("{}={}", field->name(), selector.GetReflection()->GetString(selector, field));
  if (selector.target_case() == Selector::kPid) return fmt::format("pid={}", selector.pid());
  return fmt::format("exchange={}", selector.exchange());
}

bool matches(const Selector& selector, const model::Subject& subject) {
  switch (selector.target_case()) {
    case Selector::kAgent: return subject.agent == selector.agent();
    case Selector::kRun: return subject.run == selector.run();
    case Selector::kUser: return subject.user == selector.user();
    case Selector::kExe: return subject.exe == selector.exe();
    case Selector::kCgroup: return below(subject.cgroup, selector.cgroup());
    case Selector::kUnit: return subject.unit == selector.unit();
    case Selector::kNamespace: return subject.ns == selector.namespace_();
    case Selector::kPod: return subject.pod == selector.pod();
    case Selector::kContainer: return subject.container == selector.container();
    case Selector::kPid: return subject.process.pid == selector.pid();
    case Selector::kAll: return selector.all();
    case Selector::kModel:
    case Selector::kProvider:
    case Selector::kExchange: return false;
    case Selector::TARGET_NOT_SET: return true;
  }
  return false;
}

bool matches(const Selector& selector, const model::Exchange& exchange) {
  switch (selector.target_case()) {
    case Selector::kModel:
      return exchange.request_model == selector.model() || exchange.response_model == selector.model();
    case Selector::kProvider: return exchange.provider == selector.provider();
    case Selector::kExchange: return exchange.id == selector.exchange();
    default: return matches(selector, exchange.subject);
  }
}

}  // namespace penstock::api
