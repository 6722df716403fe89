#include "userspace/policy/match.h"

#include <algorithm>
#include <string_view>

#include "userspace/api/glob.h"
#include "userspace/model/names.h"

namespace penstock::policy {
namespace {

using api::Case;
using Globs = google::protobuf::RepeatedPtrField<std::string>;

bool any(const Globs& globs, std::string_view text, Case letters = Case::kExact) {
  return std::any_of(globs.begin(), globs.end(),
                     [&](const std::string& g) { return api::glob_match(g, text, letters); });
}
bool absent_or_any(const Globs& globs, std::string_view text, Case letters = Case::kExact) {
  return globs.empty() || any(globs, text, letters);
}

// Methods without which no MCP session works and which neither call a tool nor read data.
bool is_upkeep(std::string_view method) {
  static constexpr std::string_view kMethods[] = {"initialize",   "ping",           "logging/setLevel",
                                                  "tools/list",   "resources/list", "resources/templates/list",
                                                  "prompts/list", "roots/list"};
  return method.starts_with("notifications/") ||
         std::find(std::begin(kMethods), std::end(kMethods), method) != std::end(kMethods);
}

bool tool_matches(const Globs& globs, const model::Exchange& e, Reading reading) {
  if (reading == Reading::kAll && is_upkeep(e.operation)) return true;
  const auto called = [&](const model::ToolCall& call) { return any(globs, call.name); };
  if (reading != Reading::kAll) return std::any_of(e.tool_calls.begin(), e.tool_calls.end(), called);
  return !e.tool_calls.empty() && std::all_of(e.tool_calls.begin(), e.tool_calls.end(), called);
}

model::Kind kind_of(const model::Exchange& e) { return e.kind == model::Kind::kHttp ? model::Kind::kLlm : e.kind; }

}  // namespace

bool is_ai(const model::Exchange& e) { return e.kind != model::Kind::kHttp || !e.provider.empty(); }

bool singles_out(const api::Match& m, bool beyond_user) {
  const auto says = [](const Globs& globs) {
    return !globs.empty() && std::none_of(globs.begin(), globs.end(), [](const std::string& g) {
      return g.find_first_not_of('*') == std::string::npos;
    });
  };
  return says(m.agent()) || says(m.run()) || says(m.exe()) || says(m.cgroup()) || says(m.unit()) ||
         says(m.namespace_()) || says(m.pod()) || says(m.container()) || m.labels_size() > 0 ||
         (!beyond_user && says(m.user()));
}

bool matches(const api::Match& m, const model::Subject& s) {
  if (!absent_or_any(m.agent(), s.agent) || !absent_or_any(m.run(), s.run) || !absent_or_any(m.user(), s.user) ||
      !absent_or_any(m.exe(), s.exe) || !absent_or_any(m.cgroup(), s.cgroup) || !absent_or_any(m.unit(), s.unit) ||
      !absent_or_any(m.namespace_(), s.ns) || !absent_or_any(m.pod(), s.pod) ||
      !absent_or_any(m.container(), s.container))
    return false;
  return std::all_of(m.labels().begin(), m.labels().end(), [&](const api::Labelled& l) {
    // An absent label matches no glob, not even `*`: `label.team: "*"` asks for the label to be there.
    const auto it = s.labels.find(l.label());
    return it != s.labels.end() && any(l.values(), it->second);
  });
}

bool matches(const api::RequestMatch& m, const model::Exchange& e, Reading reading) {
  const model::Kind kind = kind_of(e);
  if (!absent_or_any(m.kind(), model::name(kind)) || !absent_or_any(m.host(), e.host, Case::kIgnore) ||
      !absent_or_any(m.operation(), e.operation))
    return false;
  const bool about_models = m.provider_size() > 0 || m.model_size() > 0;
  const bool about_tools = m.tool_size() > 0;
  if (!about_models && !about_tools) return true;
  switch (kind) {
    case model::Kind::kHttp:
    case model::Kind::kLlm: {
      if (!about_models || !absent_or_any(m.provider(), e.provider, Case::kIgnore)) return false;
      const bool unreadable = reading == Reading::kStrict && e.request_model.empty() && e.request.body_bytes > 0;
      return unreadable || absent_or_any(m.model(), e.request_model, Case::kIgnore);
    }
    case model::Kind::kMcp:
      return about_tools && tool_matches(m.tool(), e, reading);
    case model::Kind::kA2a:
      return false;
  }
  return false;
}

bool matches(const api::Condition& c, const model::Exchange& e, const model::Subject& s, Reading reading) {
  return matches(c.subject(), s) && matches(c.request(), e, reading);
}

bool matches(const api::Target& t, const model::Exchange& e, const model::Subject& s, Reading reading) {
  if (!matches(t.when(), e, s, reading)) return false;
  // An exception must be certain: an unreadable model never grants it.
  return !t.has_unless() || !matches(t.unless(), e, s, reading == Reading::kStrict ? Reading::kAny : reading);
}

}  // namespace penstock::policy
