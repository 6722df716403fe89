#include "userspace/api/selector.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "userspace/api/glob.h"
#include "userspace/api/message_json.h"
#include "userspace/api/nearest.h"

namespace penstock::api {
namespace {

std::vector<std::string> kinds() {
  std::vector<std::string> names;
  for (int i = 0; i < Selector::descriptor()->field_count(); ++i)
    names.push_back(Selector::descriptor()->field(i)->name());
  return names;
}

bool like(std::string_view value, std::string_view glob, Case letters = Case::kExact) {
  return !value.empty() && glob_match(glob, value, letters);
}

// A cgroup selects everything below it.
bool below(std::string_view path, std::string_view root) {
  if (like(path, root)) return true;
  std::string inside{root};
  if (!inside.ends_with('/')) inside += '/';
  return like(path, inside + '*');
}

}  // namespace

base::Result<Selector> parse_selector(std::string_view text) {
  Selector out;
  if (text == "all") {
    out.set_all(true);
    return out;
  }
  const std::size_t equals = text.find('=');
  const std::string_view kind = text.substr(0, equals);
  const auto bad = [&](std::string_view what, std::string hint) {
    return base::Error{base::ErrorCode::kUsage, 0, fmt::format("{} \"{}\"", what, text), std::move(hint)};
  };
  const std::vector<std::string> known = kinds();
  if (std::find(known.begin(), known.end(), kind) == known.end())
    return bad("unknown selector", nearest_hint(kind, known, "selectors"));
  if (kind == "all") return bad("unknown selector", "write `all` alone");
  if (equals == std::string_view::npos || equals + 1 == text.size())
    return bad("incomplete selector", fmt::format("write {}=VALUE", kind));
  if (!set_field(out, kind, text.substr(equals + 1)))
    return bad("bad selector", fmt::format("{}= takes a whole number", kind));
  return out;
}

std::string format_selector(const Selector& selector) {
  if (selector.target_case() == Selector::TARGET_NOT_SET) return {};
  if (selector.all()) return "all";
  const auto* field =
      selector.GetReflection()->GetOneofFieldDescriptor(selector, Selector::descriptor()->oneof_decl(0));
  if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_STRING)
    return fmt::format("{}={}", field->name(), selector.GetReflection()->GetString(selector, field));
  if (selector.target_case() == Selector::kPid) return fmt::format("pid={}", selector.pid());
  return fmt::format("exchange={}", selector.exchange());
}

bool matches(const Selector& selector, const model::Subject& subject) {
  switch (selector.target_case()) {
    case Selector::kAgent:
      return like(subject.agent, selector.agent());
    case Selector::kRun:
      return like(subject.run, selector.run());
    case Selector::kUser:
      return like(subject.user, selector.user());
    case Selector::kExe:
      return like(subject.exe, selector.exe());
    case Selector::kCgroup:
      return below(subject.cgroup, selector.cgroup());
    case Selector::kUnit:
      return like(subject.unit, selector.unit());
    case Selector::kNamespace:
      return like(subject.ns, selector.namespace_());
    case Selector::kPod:
      return like(subject.pod, selector.pod());
    case Selector::kContainer:
      return like(subject.container, selector.container());
    case Selector::kPid:
      return subject.process.pid == selector.pid();
    case Selector::kAll:
      return selector.all();
    case Selector::kModel:
    case Selector::kProvider:
    case Selector::kExchange:
      return false;
    case Selector::TARGET_NOT_SET:
      return true;
  }
  return false;
}

bool matches(const Selector& selector, const model::Exchange& exchange) {
  switch (selector.target_case()) {
    case Selector::kModel:
      return like(exchange.request_model, selector.model(), Case::kIgnore) ||
             like(exchange.response_model, selector.model(), Case::kIgnore);
    case Selector::kProvider:
      return like(exchange.provider, selector.provider(), Case::kIgnore);
    case Selector::kExchange:
      return exchange.id == selector.exchange();
    default:
      return matches(selector, exchange.subject);
  }
}

}  // namespace penstock::api
