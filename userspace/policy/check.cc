#include "userspace/policy/check.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>
#include <set>

#include "userspace/api/nearest.h"
#include "userspace/api/spelling.h"
#include "userspace/model/money.h"
#include "userspace/model/names.h"
#include "userspace/policy/compiled.h"

namespace penstock::policy {
namespace {

using api::Severity;
using api::shown;

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kHour = 3600 * 1000 * kMs;
constexpr std::size_t kMaxName = 128;
constexpr int kMaxPolicies = 10'000;
constexpr int kMaxBudgets = 256;  // of one policy
constexpr int kMaxRules = 1'000;  // of one policy
constexpr int kMaxGlob = 1'024;

// Where a problem goes: the policy's index, the path of the key in it, what and what to do.
using Report =
    std::function<void(int policy, const std::string& path, Severity severity, std::string message, std::string hint)>;

// `dots`: budgets have none, since "daily.usd" is what a budget with several units becomes.
bool valid_name(std::string_view name, bool dots) {
  const auto ok = [&](char c, bool first) {
    const bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    return alnum || (!first && (c == '-' || c == '_' || (dots && c == '.')));
  };
  if (name.empty() || name.size() > kMaxName) return false;
  for (std::size_t i = 0; i < name.size(); ++i)
    if (!ok(name[i], i == 0)) return false;
  return true;
}

const std::vector<std::string>& dimensions() {
  static const std::vector<std::string> kDimensions{"agent",    "run",       "user", "exe",       "cgroup",
                                                    "unit",     "namespace", "pod",  "container", "label.NAME",
                                                    "provider", "model",     "host", "kind",      "tool"};
  return kDimensions;
}
bool is_dimension(std::string_view name) {
  constexpr std::string_view kLabel = "label.";
  if (name.starts_with(kLabel)) return name.size() > kLabel.size() && name != "label.NAME";
  return std::find(dimensions().begin(), dimensions().end(), name) != dimensions().end();
}

bool empty(const google::protobuf::Message& m) { return m.ByteSizeLong() == 0; }

class Checker {
 public:
  Checker(int index, const api::Policy& policy, const Support& support, const Report& report)
      : index_(index), p_(policy), support_(support), report_(report) {}

  void run() {
    if (!valid_name(p_.name(), true))
      error("name", shown(p_.name()) + " is no name for a policy", "use a-z, 0-9, and . _ - after the first letter");
    match("match", p_.match());
    budgets();
    if (p_.rules_size() > kMaxRules) error("rules", fmt::format("more than {} rules", kMaxRules), "");
    std::set<std::string_view> names;
    for (int i = 0; i < std::min(p_.rules_size(), kMaxRules); ++i)
      rule(fmt::format("rules[{}]", i), p_.rules(i), names);
    course();
    if (p_.has_deadline_ns()) duration("deadline", p_.deadline_ns());
    if (p_.hold_h2() != api::Policy::HOLD_H2_UNSPECIFIED && !support_.http2_holds) unsupported("hold_h2", "`hold_h2`");
    if (p_.has_lease() && empty(p_.lease())) error("lease", "`lease` is empty", "give `requests`, `bytes` or both");
    if (p_.mode() == api::MODE_OBSERVE && p_.opaque() == api::Policy::OPAQUE_DENY)
      warning("opaque", "`opaque: deny` does nothing in observe mode", "use `mode: enforce` or `mode: strict`");
    if (p_.budgets_size() == 0 && p_.rules_size() == 0 && !p_.has_loops() && !p_.has_delegation())
      warning("name", "the policy has no budget and no rule", "");
  }

 private:
  void error(const std::string& path, std::string message, std::string hint) {
    report_(index_, path, Severity::kError, std::move(message), std::move(hint));
  }
  void warning(const std::string& path, std::string message, std::string hint) {
    report_(index_, path, Severity::kWarning, std::move(message), std::move(hint));
  }
  void unsupported(const std::string& path, std::string_view what) {
    error(path, fmt::format("{} is not supported in this build", what), "it would not be enforced: remove it");
  }
  void duration(const std::string& path, std::uint64_t ns) {
    const std::string key = path.substr(path.rfind('.') == std::string::npos ? 0 : path.rfind('.') + 1);
    if (ns < kMs || ns > kHour) error(path, fmt::format("`{}` must be from 1ms to 1h", key), "");
  }
  void globs(const std::string& path, const google::protobuf::RepeatedPtrField<std::string>& list) {
    for (const std::string& glob : list)
      if (glob.size() > kMaxGlob) error(path, fmt::format("longer than {} bytes", kMaxGlob), "");
  }

  void match(const std::string& path, const api::Match& m) {
    const std::string in = path.empty() ? "" : path + ".";
    for (const auto* list :
         {&m.agent(), &m.run(), &m.user(), &m.exe(), &m.cgroup(), &m.unit(), &m.namespace_(), &m.pod(), &m.container()})
      globs(path, *list);
    if (!support_.kubernetes) {
      if (m.namespace__size() > 0) unsupported(in + "namespace", "`namespace`");
      if (m.pod_size() > 0) unsupported(in + "pod", "`pod`");
      for (const api::Labelled& l : m.labels()) unsupported(in + "label." + l.label(), shown("label." + l.label()));
    }
    for (const api::Labelled& l : m.labels()) globs(in + "label." + l.label(), l.values());
    if (m.service_account_size() > 0) unsupported(in + "service_account", "`service_account`");
  }

  void request(const std::string& path, const api::RequestMatch& m) {
    for (const auto* list : {&m.provider(), &m.model(), &m.operation(), &m.tool(), &m.host()}) globs(path, *list);
    static const std::vector<std::string> kKinds{"llm", "mcp", "a2a"};
    for (const std::string& kind : m.kind()) {
      if (std::find(kKinds.begin(), kKinds.end(), kind) == kKinds.end()) {
        error(path + ".kind", "unknown kind " + shown(kind), api::nearest_hint(kind, kKinds, "kinds"));
      } else if (kind != "llm" && !support_.tools) {
        unsupported(path + ".kind", fmt::format("kind `{}`", kind));
      }
    }
    if (m.tool_size() > 0 && !support_.tools) unsupported(path + ".tool", "`tool`");
  }

  void condition(const std::string& path, const api::Condition& c) {
    match(path, c.subject());
    request(path, c.request());
  }

  void budgets() {
    if (p_.budgets_size() > kMaxBudgets) error("budgets", fmt::format("more than {} budgets", kMaxBudgets), "");
    std::set<std::string_view> names;
    bool tokens = false;
    bool money = false;
    for (int i = 0; i < std::min(p_.budgets_size(), kMaxBudgets); ++i) {
      budget(fmt::format("budgets[{}]", i), p_.budgets(i), names);
      tokens = tokens || p_.budgets(i).has_tokens();
      money = money || p_.budgets(i).has_nano_usd();
    }
    if (p_.unpriced() == api::Policy::UNPRICED_TOKEN_CAP && !tokens)
      error("unpriced", "`unpriced: token_cap` needs a budget in tokens", "add one, or use refuse or allow");
    if (p_.unpriced() != api::Policy::UNPRICED_UNSPECIFIED && !money)
      warning("unpriced", "`unpriced` does nothing without a budget in usd", "");
  }

  void budget(const std::string& path, const api::Policy::Budget& b, std::set<std::string_view>& names) {
    if (!valid_name(b.name(), false))
      error(path + ".name", shown(b.name()) + " is no name for a budget",
            "use a-z, 0-9, and _ - after the first letter");
    if (!names.insert(b.name()).second)
      error(path + ".name", fmt::format("two budgets are named {}", shown(b.name())),
            "names are unique within a policy");
    if (!b.has_nano_usd() && !b.has_tokens() && !b.has_requests())
      error(path, fmt::format("budget {} has no limit", shown(b.name())), "give `usd`, `tokens` or `requests`");
    if (b.nano_usd() < 0) error(path + ".usd", "`usd` must not be negative", "");
    std::set<std::string_view> seen;
    for (int i = 0; i < b.per_size(); ++i) {
      const std::string where = b.per_size() == 1 ? path + ".per" : fmt::format("{}.per[{}]", path, i);
      if (!is_dimension(b.per(i)))
        error(where, "unknown dimension " + shown(b.per(i)), api::nearest_hint(b.per(i), dimensions(), "dimensions"));
      if (!seen.insert(b.per(i)).second) error(where, fmt::format("dimension {} is given twice", shown(b.per(i))), "");
      if (!support_.kubernetes && (b.per(i) == "namespace" || b.per(i) == "pod" || b.per(i).starts_with("label.")))
        unsupported(where, shown("per: " + b.per(i)));
      if (!support_.tools && b.per(i) == "tool") unsupported(where, "`per: tool`");
    }
    window(path, b);
    for (int i = 0; i < b.soft_permille_size(); ++i)
      if (b.soft_permille(i) == 0 || b.soft_permille(i) >= 1000)
        error(path + ".soft", "`soft` must be more than 0% and less than 100%", "");
    if (b.has_hold_ns()) {
      duration(path + ".hold", b.hold_ns());
      if (b.on_breach() != api::ON_BREACH_HOLD && b.on_breach() != api::ON_BREACH_PACE)
        error(path + ".hold", "`hold` needs `on_breach: hold` or `on_breach: pace`", "");
    }
    if (b.on_breach() == api::ON_BREACH_PACE && !b.has_window())
      error(path + ".on_breach", "`on_breach: pace` needs a window", "without one there is never room again");
    if (b.shared() == api::Policy::SHARED_CLUSTER && !support_.cluster)
      unsupported(path + ".shared", "`shared: cluster`");
    if (b.has_only()) {
      if (empty(b.only())) error(path + ".only", "`only` is empty", "give at least one key");
      request(path + ".only", b.only());
    }
  }

  void window(const std::string& path, const api::Policy::Budget& b) {
    const bool has = b.has_window();
    const bool month = b.window().unit() == api::Window::UNIT_MONTH;
    if (has && (b.window().count() == 0 || b.window().unit() == api::Window::UNIT_UNSPECIFIED))
      error(path + ".window", "the window has no length", "");
    if (has && b.window().rolling() && month)
      error(path + ".window", "a month cannot roll: months differ in length", "use `30d rolling` or `1mo`");
    constexpr std::uint64_t kDay = 86'400;
    static constexpr std::uint64_t kSeconds[] = {0, 1, 60, 3600, kDay, 7 * kDay, 31 * kDay};
    const auto unit = static_cast<std::size_t>(b.window().unit());
    const std::uint64_t length = has && unit < std::size(kSeconds) ? b.window().count() * kSeconds[unit] : 0;
    const bool calendar = has && !b.window().rolling();
    if (length > 10ULL * 366 * kDay)
      error(path + ".window", "the window is longer than ten years", "");
    else if (has && b.window().rolling() && !month && length > 31 * kDay)
      error(path + ".window", "a rolling window is at most 31 days long", "use a calendar window, such as `3mo`");
    else if (calendar && length > kDay && kSeconds[unit] < kDay)
      error(path + ".window", "a calendar window longer than a day counts whole days", "write it in `d`, `w` or `mo`");
    else if (calendar && length > 0 && length < kDay && kDay % length != 0)
      error(path + ".window", "a calendar window shorter than a day must divide the day evenly",
            "such as `6h` or `8h`; or let it roll: `7h rolling`");
    if (b.tz().empty()) return;
    if (!has || b.window().rolling())
      return error(path + ".tz", "`tz` needs a calendar window", "for example `window: 1d`");
    const bool looks_like_one = b.tz().size() <= 64 && b.tz().front() != '/' &&
                                b.tz().find("..") == std::string::npos &&
                                std::all_of(b.tz().begin(), b.tz().end(), [](char c) {
                                  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                                         c == '/' || c == '_' || c == '-' || c == '+';
                                });
    if (!looks_like_one || (support_.timezone_known != nullptr && !support_.timezone_known(b.tz())))
      error(path + ".tz", "unknown time zone " + shown(b.tz()),
            "a name such as Europe/Berlin; its rules must be installed (tzdata)");
  }

  void rule(const std::string& path, const api::Policy::Rule& r, std::set<std::string_view>& names) {
    if (!r.name().empty()) {
      if (!valid_name(r.name(), false))
        error(path + ".name", shown(r.name()) + " is no name for a rule",
              "use a-z, 0-9, and _ - after the first letter");
      if (!names.insert(r.name()).second)
        error(path + ".name", fmt::format("two rules are named {}", shown(r.name())),
              "names are unique within a policy");
    }
    const int kinds = r.has_deny() + r.has_allow() + r.has_approve();
    if (kinds != 1)
      return error(path,
                   kinds == 0 ? "the rule says neither deny, allow nor approve"
                              : "the rule says more than one of deny, allow and approve",
                   "one of them in each rule");
    const std::string key = r.has_deny() ? ".deny" : r.has_allow() ? ".allow" : ".approve";
    const api::Target& t = r.has_deny() ? r.deny() : r.has_allow() ? r.allow() : r.approve();
    if (empty(t.when()))
      error(path + key, fmt::format("`{}` is empty", key.substr(1)),
            "name what it is about; `provider: \"*\"` is every model call");
    condition(path + key, t.when());
    if (t.has_unless()) {
      if (empty(t.unless())) error(path + key + ".unless", "`unless` is empty", "give at least one key");
      condition(path + key + ".unless", t.unless());
    }
    if (r.has_approve() && !support_.approvals) unsupported(path + ".approve", "`approve`");
    if (!r.has_approve() && r.has_hold_ns()) error(path + ".hold", "`hold` needs `approve`", "");
    if (!r.has_approve() && r.otherwise() != api::OTHERWISE_UNSPECIFIED)
      error(path + ".otherwise", "`otherwise` needs `approve`", "");
    if (r.has_hold_ns()) duration(path + ".hold", r.hold_ns());
  }

  void course() {
    if (p_.has_loops()) {
      const auto& l = p_.loops();
      if (!support_.loops) return unsupported("loops", "`loops`");
      if (!l.has_same_call() && !l.has_cycle())
        error("loops", "`loops` has no limit", "give `same_call`, `cycle` or both");
      if (l.has_same_call() && l.same_call().count() < 2)
        error("loops.same_call", "`same_call` must be 2 or more", "1 would stop every call");
      if (l.has_cycle() && l.cycle() < 2) error("loops.cycle", "`cycle` must be 2 or more", "1 would stop every call");
      if (l.on_breach() == api::ON_BREACH_PACE) error("loops.on_breach", "a loop cannot be paced", "use hold or deny");
    }
    if (p_.has_delegation()) {
      if (!support_.delegation) return unsupported("delegation", "`delegation`");
      if (empty(p_.delegation())) error("delegation", "`delegation` is empty", "give `max_depth`, `inherit` or both");
    }
  }

  int index_;
  const api::Policy& p_;
  const Support& support_;
  const Report& report_;
};

void validate(const api::PolicySet& set, const Support& support, const Report& report) {
  if (set.policies_size() > kMaxPolicies)
    report(kMaxPolicies, "name", Severity::kError, fmt::format("more than {} policies", kMaxPolicies), "");
  std::map<std::string_view, int> names;
  for (int i = 0; i < std::min(set.policies_size(), kMaxPolicies); ++i) {
    const api::Policy& policy = set.policies(i);
    Checker(i, policy, support, report).run();
    if (!names.emplace(policy.name(), i).second)
      report(i, "name", Severity::kError, fmt::format("two policies are named {}", shown(policy.name())),
             "names are unique among all files");
  }
}

struct Text {
  std::string file;
  std::string content;
};

LoadedPolicies read_texts(const std::vector<Text>& texts, const Support& support) {
  LoadedPolicies loaded;
  std::vector<api::YamlDocument> documents;
  api::YamlOptions options;
  options.kind_required = true;
  for (const Text& text : texts) {
    api::YamlFile file = api::read_yaml(text.content, text.file, api::Policy::default_instance(), options);
    std::move(file.diagnostics.begin(), file.diagnostics.end(), std::back_inserter(loaded.diagnostics));
    for (api::YamlDocument& document : file.documents) {
      loaded.set.add_policies()->CopyFrom(*document.message);
      documents.push_back(std::move(document));
    }
  }
  // What was not understood would only be complained about once more, and wrongly.
  if (api::has_errors(loaded.diagnostics)) return loaded;
  validate(loaded.set, support,
           [&](int index, const std::string& path, Severity severity, std::string message, std::string hint) {
             const api::YamlDocument& document = documents[static_cast<std::size_t>(index)];
             loaded.diagnostics.push_back(
                 {severity, document.file, document.find(path), std::move(message), std::move(hint)});
           });
  return loaded;
}

// The names of policy files in a folder, sorted; an Error when it cannot be read.
base::Result<std::vector<std::string>> policy_files(const std::string& folder) {
  DIR* dir = ::opendir(folder.c_str());
  if (dir == nullptr) return base::Error{base::ErrorCode::kUsage, errno, folder + ": cannot be opened", ""};
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name.front() != '.' && (name.ends_with(".yaml") || name.ends_with(".yml")))
      names.push_back(folder + "/" + std::string(name));
  }
  ::closedir(dir);
  std::sort(names.begin(), names.end());
  return names;
}

api::Diagnostic unreadable(const base::Error& error) { return {Severity::kError, "", {}, error.message(), error.hint}; }

// Top-level keys of a message as written: "mode" -> "mode: enforce\n".
std::map<std::string, std::string> written_keys(const google::protobuf::Message& message) {
  std::map<std::string, std::string> keys;
  const std::string text = api::write_yaml(message, false);
  std::string* current = nullptr;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at) + 1;
    const std::string_view line(text.data() + at, end - at);
    if (line.front() != ' ' && line.front() != '{') current = &keys[std::string(line.substr(0, line.find(':')))];
    if (current != nullptr) current->append(line);
    at = end;
  }
  return keys;
}

// "25.00" of "usd: 25.00\n"; nothing for a value of several lines.
std::optional<std::string> short_value(const std::string& written) {
  if (std::count(written.begin(), written.end(), '\n') != 1) return std::nullopt;
  const std::size_t colon = written.find(": ");
  return written.substr(colon + 2, written.size() - colon - 3);
}

void diff_keys(const std::string& what, const google::protobuf::Message& before, const google::protobuf::Message& after,
               std::vector<std::string>& out) {
  const auto old_keys = written_keys(before);
  const auto new_keys = written_keys(after);
  std::set<std::string> all;
  for (const auto& [key, text] : old_keys) all.insert(key);
  for (const auto& [key, text] : new_keys) all.insert(key);
  for (const std::string& key : all) {
    const auto a = old_keys.find(key);
    const auto b = new_keys.find(key);
    if (a != old_keys.end() && b != new_keys.end() && a->second == b->second) continue;
    const auto value_of = [&](const auto& it, const auto& end) {
      return it == end ? std::optional<std::string>("(none)") : short_value(it->second);
    };
    const auto was = value_of(a, old_keys.end());
    const auto is = value_of(b, new_keys.end());
    out.push_back(was && is ? fmt::format("~ {}: {} {} -> {}", what, key, *was, *is)
                            : fmt::format("~ {}: {} changed", what, key));
  }
}

std::string limit_text(const BudgetSpec& spec) {
  switch (spec.unit) {
    case BudgetSpec::Unit::kNanoUsd:
      return "$" + model::format_usd({spec.limit});
    case BudgetSpec::Unit::kTokens:
      return api::format_count(static_cast<std::uint64_t>(spec.limit)) + " tokens";
    case BudgetSpec::Unit::kRequests:
      return api::format_count(static_cast<std::uint64_t>(spec.limit)) + " requests";
  }
  PN_BUG("enum value out of range");
}

}  // namespace

LoadedPolicies read_policies(std::string_view text, const std::string& file, const Support& support) {
  return read_texts({{file, std::string(text)}}, support);
}

LoadedPolicies load_policies(const std::string& path, const Support& support) {
  std::vector<std::string> files{path};
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) {
    auto found = policy_files(path);
    if (!found) return {{}, {unreadable(found.error())}};
    files = std::move(found).value();
  }
  std::vector<Text> texts;
  std::vector<api::Diagnostic> failed;
  for (const std::string& file : files) {
    auto text = api::read_text_file(file);
    if (text) {
      texts.push_back({file, std::move(text).value()});
    } else {
      failed.push_back(unreadable(text.error()));
    }
  }
  LoadedPolicies loaded = read_texts(texts, support);
  loaded.diagnostics.insert(loaded.diagnostics.begin(), failed.begin(), failed.end());
  return loaded;
}

std::vector<api::Diagnostic> check(const api::PolicySet& set, const Support& support) {
  std::vector<api::Diagnostic> out;
  validate(set, support,
           [&](int index, const std::string& path, Severity severity, std::string message, std::string hint) {
             const std::string& name = set.policies(std::min(index, set.policies_size() - 1)).name();
             out.push_back(
                 {severity, "", {}, fmt::format("policy {}: {}: {}", shown(name), path, message), std::move(hint)});
           });
  return out;
}

std::string explain(const Effective& e) {
  std::string out;
  const auto line = [&](std::string_view text) { out += std::string(text) + "\n"; };
  line(fmt::format("mode: {}", model::name(e.mode)));
  line(fmt::format("requests wait for a verdict: {}", e.gated ? "yes" : "no"));
  if (e.gated)
    line(fmt::format("without a verdict for {}: {}", api::format_duration_ns(e.deadline_ns), name(e.on_failure)));
  if (e.matched.empty() && e.inherited.empty()) line("no policy applies");
  const auto policy = [&](std::uint32_t index, std::string_view note) {
    const CompiledPolicy& p = e.policies->policies[index];
    line(fmt::format("policy {} ({}{})", p.name, model::name(p.mode), note));
    for (const Rule& r : p.rules) line(fmt::format("  rule {}", r.name));
    if (p.has_allow) line("  what no allow matches is denied");
  };
  for (std::uint32_t index : e.matched) policy(index, "");
  for (const Effective::Inherited& i : e.inherited)
    policy(i.policy, fmt::format(", denies inherited from {}", e.ancestors[i.ancestor].agent));
  for (const BudgetUse& use : e.budgets) {
    const BudgetSpec& spec = e.policies->budgets[use.budget];
    std::string per;
    for (const std::string& dimension : spec.per) per += (per.empty() ? " per " : ", ") + dimension;
    line(fmt::format("budget {}/{}: {}{}{}{}", spec.policy, spec.name, limit_text(spec), per,
                     spec.window.empty() ? "" : ", window " + spec.window,
                     use.payer == 0 ? "" : ", charged to " + e.ancestors[use.payer - 1].agent));
  }
  return out;
}

std::vector<std::string> diff(const api::PolicySet& before, const api::PolicySet& after) {
  std::vector<std::string> out;
  const auto by_name = [](const auto& list) {
    std::map<std::string, std::remove_cvref_t<decltype(list[0])>> named;
    for (const auto& item : list) named.emplace(item.name(), item);
    return named;
  };
  const auto old_policies = by_name(before.policies());
  const auto new_policies = by_name(after.policies());
  for (const auto& [name, policy] : old_policies)
    if (!new_policies.contains(name)) out.push_back(fmt::format("- policy {}", name));
  for (const auto& [name, policy] : new_policies) {
    const auto was = old_policies.find(name);
    if (was == old_policies.end()) {
      out.push_back(
          fmt::format("+ policy {} (budgets: {}, rules: {})", name, policy.budgets_size(), policy.rules_size()));
      continue;
    }
    const auto old_budgets = by_name(was->second.budgets());
    const auto new_budgets = by_name(policy.budgets());
    api::Policy old_rest = was->second;
    api::Policy new_rest = policy;
    old_rest.clear_budgets();
    new_rest.clear_budgets();
    diff_keys("policy " + name, old_rest, new_rest, out);
    for (const auto& [budget, value] : old_budgets)
      if (!new_budgets.contains(budget)) out.push_back(fmt::format("- budget {}/{}", name, budget));
    for (const auto& [budget, value] : new_budgets) {
      const auto had = old_budgets.find(budget);
      if (had == old_budgets.end()) {
        out.push_back(fmt::format("+ budget {}/{}", name, budget));
      } else {
        diff_keys(fmt::format("budget {}/{}", name, budget), had->second, value, out);
      }
    }
  }
  return out;
}

}  // namespace penstock::policy
