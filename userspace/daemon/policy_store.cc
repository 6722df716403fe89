#include "userspace/daemon/policy_store.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "userspace/api/glob.h"
#include "userspace/api/yaml.h"
#include "userspace/base/atomic_file.h"
#include "userspace/base/log.h"

namespace penstock::daemon {
namespace {

// A policy's text again, as the report of a file shows it.
void report_into(api::PolicyReport& report, const std::vector<api::Diagnostic>& diagnostics) {
  for (const api::Diagnostic& d : diagnostics) {
    api::PolicyDiagnostic* to = report.add_diagnostics();
    to->set_severity(d.severity == api::Severity::kError ? "error" : "warning");
    to->set_file(d.file);
    to->set_line(static_cast<std::uint32_t>(std::max(d.at.line, 0)));
    to->set_column(static_cast<std::uint32_t>(std::max(d.at.column, 0)));
    to->set_message(d.hint.empty() ? d.message : d.message + "; " + d.hint);
  }
}

std::string match_text(const api::Match& match) {
  std::string text = api::write_yaml(match, false);
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text.empty() ? "everyone" : text;
}

std::string mode_text(api::Mode mode, model::Mode initial) {
  if (mode == api::MODE_UNSPECIFIED) {
    return initial == model::Mode::kStrict ? "strict" : initial == model::Mode::kEnforce ? "enforce" : "observe";
  }
  return api::enum_spelling(*api::Mode_descriptor()->FindValueByNumber(mode));
}

bool same(const api::Policy& a, const api::Policy& b) { return a.SerializeAsString() == b.SerializeAsString(); }

const api::Policy* find(const api::PolicySet& set, const std::string& name) {
  const auto it = std::find_if(set.policies().begin(), set.policies().end(),
                               [&](const api::Policy& p) { return p.name() == name; });
  return it == set.policies().end() ? nullptr : &*it;
}

}  // namespace

base::Result<PolicyStore::Parts> PolicyStore::read(const Settings& settings, std::int64_t now_real_ns) const {
  Parts parts = parts_;
  for (const api::Policy& policy : parts.files) parts.origins.erase(policy.name());
  parts.files.clear();
  if (!settings.path.empty()) {
    policy::LoadedPolicies loaded = policy::load_policies(settings.path, settings.support);
    if (api::has_errors(loaded.diagnostics)) return api::to_error(loaded.diagnostics);
    for (const api::Diagnostic& d : loaded.diagnostics) base::log_warning("policy {}", d.text());
    for (const api::Policy& policy : loaded.set.policies()) {
      parts.files.push_back(policy);
      parts.origins[policy.name()] = {settings.path, now_real_ns, false};
    }
  }
  return parts;
}

base::Result<PolicyStore> PolicyStore::open(Settings settings, std::int64_t now_real_ns) {
  PolicyStore store(settings);
  struct stat info {};
  if (!settings.applied_dir.empty() && ::stat(settings.applied_dir.c_str(), &info) == 0) {
    policy::LoadedPolicies loaded = policy::load_policies(settings.applied_dir, settings.support);
    if (api::has_errors(loaded.diagnostics)) {
      base::Error error = api::to_error(loaded.diagnostics);
      error.hint = "a policy applied earlier does not hold for this build: correct or remove its file";
      return error;
    }
    for (const api::Policy& policy : loaded.set.policies()) {
      store.parts_.applied.push_back(policy);
      store.parts_.origins[policy.name()] = {settings.applied_dir + "/" + policy.name() + ".yaml", now_real_ns, true};
    }
  }
  PN_TRY(store.parts_, store.read(settings, now_real_ns));
  store.set_ = join(store.parts_);
  PN_TRY([[maybe_unused]] auto compiled, policy::compile(store.set_, settings.defaults, settings.support));
  return store;
}

// A policy applied through the API stands in for the file's policy of the same name.
api::PolicySet PolicyStore::join(const Parts& parts) {
  api::PolicySet set;
  for (const api::Policy& policy : parts.files) {
    const bool replaced = std::any_of(parts.applied.begin(), parts.applied.end(),
                                      [&](const api::Policy& p) { return p.name() == policy.name(); });
    if (!replaced) *set.add_policies() = policy;
  }
  for (const api::Policy& policy : parts.applied) *set.add_policies() = policy;
  for (const auto& [run, policies] : parts.runs) {
    for (const api::Policy& policy : policies) *set.add_policies() = policy;
  }
  return set;
}

base::Result<> PolicyStore::install(const api::PolicySet& set) {
  PN_TRY(auto compiled, policy::compile(set, settings_.defaults, settings_.support));
  const bool any_strict = std::any_of(set.policies().begin(), set.policies().end(), [&](const api::Policy& p) {
    return p.mode() == api::MODE_STRICT ||
           (p.mode() == api::MODE_UNSPECIFIED && settings_.defaults.mode == model::Mode::kStrict);
  });
  if (!install_) return {};
  return install_(std::move(compiled), any_strict);
}

base::Result<> PolicyStore::install() { return install(set_); }

base::Result<> PolicyStore::swap_in(Parts parts) {
  api::PolicySet set = join(parts);
  PN_CHECK(install(set));
  parts_ = std::move(parts);
  set_ = std::move(set);
  return {};
}

base::Result<> PolicyStore::reload(Settings settings, std::int64_t now_real_ns) {
  PN_TRY(Parts parts, read(settings, now_real_ns));
  Settings before = std::exchange(settings_, std::move(settings));
  auto swapped = swap_in(std::move(parts));
  if (!swapped) settings_ = std::move(before);
  return swapped;
}

api::PolicyInfo PolicyStore::describe(const api::Policy& policy, const std::string& change) const {
  api::PolicyInfo info;
  info.set_name(policy.name());
  info.set_mode(mode_text(policy.mode(), settings_.defaults.mode));
  info.set_match(match_text(policy.match()));
  info.set_budgets(static_cast<std::uint32_t>(policy.budgets_size()));
  info.set_rules(static_cast<std::uint32_t>(policy.rules_size()));
  if (const Origin* from = origin(policy.name())) {
    if (!from->file.empty()) info.set_file(from->file);
    info.set_loaded_real_ns(from->loaded_real_ns);
  }
  info.set_change(change);
  return info;
}

const PolicyStore::Origin* PolicyStore::origin(const std::string& name) const {
  const auto it = parts_.origins.find(name);
  return it == parts_.origins.end() ? nullptr : &it->second;
}

api::PolicyReport PolicyStore::check(const std::string& source, const std::string& file) const {
  api::PolicyReport report;
  const policy::LoadedPolicies read = policy::read_policies(source, file, settings_.support);
  report_into(report, read.diagnostics);
  report.set_valid(!api::has_errors(read.diagnostics));
  if (!report.valid()) return report;
  for (const api::Policy& policy : read.set.policies()) {
    const api::Policy* before = find(set_, policy.name());
    *report.add_policies() = describe(policy, before == nullptr       ? "added"
                                              : same(*before, policy) ? "unchanged"
                                                                      : "changed");
  }
  return report;
}

base::Result<api::PolicyReport> PolicyStore::apply(const std::string& source, const std::string& file,
                                                   std::int64_t now_real_ns) {
  api::PolicyReport report = check(source, file);
  if (!report.valid()) return report;
  const policy::LoadedPolicies read = policy::read_policies(source, file, settings_.support);
  Parts parts = parts_;
  for (const api::Policy& policy : read.set.policies()) {
    for (const auto& [run, policies] : parts.runs) {
      if (std::any_of(policies.begin(), policies.end(),
                      [&](const api::Policy& p) { return p.name() == policy.name(); })) {
        return base::Error{base::ErrorCode::kUsage, 0, fmt::format("policy {} belongs to run {}", policy.name(), run),
                           "choose another name"};
      }
    }
    std::erase_if(parts.applied, [&](const api::Policy& p) { return p.name() == policy.name(); });
    parts.applied.push_back(policy);
    const std::string kept =
        settings_.applied_dir.empty() ? file : settings_.applied_dir + "/" + policy.name() + ".yaml";
    parts.origins[policy.name()] = {kept, now_real_ns, true};
  }
  // What is on disk is what a restart will find: first the files, then the effect.
  if (!settings_.applied_dir.empty()) {
    if (::mkdir(settings_.applied_dir.c_str(), 0700) != 0 && errno != EEXIST)
      return base::errno_error(errno, "create " + settings_.applied_dir);
    PN_TRY([[maybe_unused]] auto valid, policy::compile(join(parts), settings_.defaults, settings_.support));
    for (const api::Policy& policy : read.set.policies()) {
      PN_CHECK(base::write_file_atomically(settings_.applied_dir + "/" + policy.name() + ".yaml",
                                           api::write_yaml(policy, true)));
    }
  }
  PN_CHECK(swap_in(std::move(parts)));
  report.set_applied(true);
  return report;
}

base::Result<> PolicyStore::remove(const std::string& name) {
  const Origin* from = origin(name);
  if (find(set_, name) == nullptr) {
    return base::Error{base::ErrorCode::kNotFound, 0, "no policy is called " + name, "penstock policy list shows them"};
  }
  if (from == nullptr || !from->applied) {
    return base::Error{base::ErrorCode::kFailure, 0, fmt::format("policy {} was not applied through the API", name),
                       from == nullptr ? "it ends with its run" : "remove it from " + from->file + " and reload"};
  }
  Parts parts = parts_;
  std::erase_if(parts.applied, [&](const api::Policy& p) { return p.name() == name; });
  parts.origins.erase(name);
  for (const api::Policy& policy : parts.files) {
    if (policy.name() == name) parts.origins[name] = {settings_.path, from->loaded_real_ns, false};
  }
  const std::string file = settings_.applied_dir.empty() ? std::string() : settings_.applied_dir + "/" + name + ".yaml";
  PN_CHECK(swap_in(std::move(parts)));
  if (!file.empty() && ::unlink(file.c_str()) != 0 && errno != ENOENT)
    return base::errno_error(errno, "remove " + file);
  return {};
}

base::Result<> PolicyStore::add_run(const std::string& run, const policy::RunLimits& limits, bool has_limits,
                                    const std::string& source, const std::string& file) {
  std::vector<api::Policy> policies;
  if (has_limits) policies.push_back(policy::run_policy(run, limits));
  if (!source.empty()) {
    policy::LoadedPolicies read = policy::read_policies(source, file, settings_.support);
    if (api::has_errors(read.diagnostics)) return api::to_error(read.diagnostics);
    for (api::Policy policy : read.set.policies()) {
      // For this run only: whatever else it says, it speaks of nobody else.
      policy.mutable_match()->clear_run();
      policy.mutable_match()->add_run(api::glob_escape(run));
      policy.set_name(policy.name() + "." + policy::run_policy(run, {}).name());
      policies.push_back(std::move(policy));
    }
  }
  if (policies.empty()) return {};
  Parts parts = parts_;
  parts.runs[run] = std::move(policies);
  return swap_in(std::move(parts));
}

void PolicyStore::remove_run(const std::string& run) {
  if (!parts_.runs.contains(run)) return;
  Parts parts = parts_;
  parts.runs.erase(run);
  if (const auto swapped = swap_in(std::move(parts)); !swapped)
    base::log_error("policy run_not_removed run={} error=\"{}\"", run, swapped.error().message());
}

}  // namespace penstock::daemon
