#include "userspace/pipeline/scopes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "userspace/base/log.h"

namespace penstock::pipeline {
namespace {

// Beyond so many scopes of one agent each, agents with the same settings share one.
constexpr std::size_t kScopesPerAgent = PN_MAX_SCOPES - 128;
constexpr char kOpenScope[] = "open";

std::uint32_t on_failure_of(policy::OnFailure on_failure) {
  switch (on_failure) {
    case policy::OnFailure::kHoldLast:
      return PN_FAIL_HOLD_LAST;
    case policy::OnFailure::kOpen:
      return PN_FAIL_OPEN;
    case policy::OnFailure::kClosed:
      return PN_FAIL_CLOSED;
  }
  return PN_FAIL_HOLD_LAST;
}

std::int64_t lease_value(std::uint64_t amount) {
  return static_cast<std::int64_t>(
      std::min<std::uint64_t>(amount, static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())));
}

std::string scope_name(const pn_scope_val& value, const std::string& agent) {
  return fmt::format("{},{},{},{},{},{} {}", value.mode, value.on_failure, value.flags, value.deadline_ns,
                     value.lease_requests, value.lease_bytes, agent);
}

}  // namespace

pn_scope_val scope_value(const policy::ScopeSettings& settings, bool killed) {
  pn_scope_val value{};
  value.mode = PN_MODE_OBSERVE;
  if (settings.gated) value.mode = settings.mode == model::Mode::kStrict ? PN_MODE_STRICT : PN_MODE_ENFORCE;
  value.on_failure = on_failure_of(settings.on_failure);
  value.deadline_ns = settings.deadline_ns;
  value.lease_requests = lease_value(settings.lease_requests);
  value.lease_bytes = lease_value(settings.lease_bytes);
  if (killed) {
    // Stays shut whatever becomes of the daemon.
    if (value.mode == PN_MODE_OBSERVE) value.mode = PN_MODE_ENFORCE;
    value.on_failure = PN_FAIL_CLOSED;
    value.flags |= PN_SCOPE_BLOCK_ENDPOINTS;
    value.lease_requests = 0;
    value.lease_bytes = 0;
  }
  // A scope with nothing to say must be all zero: the first gating scope is what turns the gate on. Of a killed one,
  // ciphertext waits until it is known where it goes.
  if (value.mode != PN_MODE_OBSERVE && !settings.deny_opaque && !killed) value.flags |= PN_SCOPE_OPAQUE_ALLOW;
  return value;
}

void Scopes::count(base::Result<> result) {
  if (result) return;
  if (errors_++ == 0) base::log_warning("scopes write_failed error=\"{}\"", result.error().message());
}

void Scopes::write(std::uint32_t scope, const pn_scope_val& value) {
  Active& active = active_[scope];
  if (std::memcmp(&active.value, &value, sizeof value) == 0 && scope != 0) return;
  auto written = gate_.set_scope(scope, value);
  if (written) active.value = value;
  count(std::move(written));
}

void Scopes::set_defaults(const Defaults& defaults) {
  policy::ScopeSettings settings = policy::scope_settings(*defaults.nobody);
  const bool by_policy = settings.gated;
  kills_ = defaults.kills;
  if (!by_policy && (defaults.any_strict || defaults.kills)) {
    // Nothing is known to forbid what this scope sends: it waits for a verdict while there is somebody to give one.
    // While there is not: killed processes, their children and whoever is born in their cgroups have scopes of their
    // own that stay shut. What this scope could still let through is a killed agent that somebody else starts anew.
    // Whoever finds that worse than a host that stands still says so by `defaults.on_failure: closed`.
    settings.gated = true;
    settings.mode = model::Mode::kEnforce;
    settings.deny_opaque = false;
    const bool closed = settings.on_failure == policy::OnFailure::kClosed;
    if (!closed && defaults.any_strict) settings.on_failure = policy::OnFailure::kHoldLast;
    if (!closed && !defaults.any_strict) {
      settings.on_failure = policy::OnFailure::kOpen;
      settings.lease_requests = std::numeric_limits<std::int64_t>::max();
      settings.lease_bytes = std::numeric_limits<std::int64_t>::max();
    }
  }
  default_gates_ = settings.gated;
  active_[0].effective = defaults.nobody;
  write(0, scope_value(settings, false));
}

std::uint32_t Scopes::scope_for(const model::Subject& subject,
                                const std::shared_ptr<const policy::Effective>& effective, bool killed) {
  const policy::ScopeSettings settings = policy::scope_settings(*effective);
  if (!settings.gated && !killed) {
    // Not of interest. Where the default gates, say so; but kill orders about models and new processes need the
    // default.
    if (!default_gates_ || kills_) return 0;
    const std::uint32_t open = ids_.id_of(kOpenScope, [](std::uint32_t) { return true; });
    if (open != 0) write(open, scope_value({}, false));
    return open;
  }
  const pn_scope_val value = scope_value(settings, killed);
  const auto in_use = [this](std::uint32_t id) {
    const auto it = active_.find(id);
    return it != active_.end() && it->second.members > 0;
  };
  const bool own = ids_.all().size() < kScopesPerAgent || ids_.all().contains(scope_name(value, subject.agent));
  const std::uint32_t scope = ids_.id_of(scope_name(value, own ? subject.agent : std::string()), in_use);
  if (scope == 0) return 0;
  Active& active = active_[scope];
  if (active.effective == nullptr || active.members == 0) {
    active.effective = effective;
    write(scope, value);
  }
  return scope;
}

void Scopes::leave(std::uint32_t scope) {
  if (const auto it = active_.find(scope); it != active_.end() && it->second.members > 0) --it->second.members;
}

std::uint32_t Scopes::place(const model::Subject& subject, const std::shared_ptr<const policy::Effective>& effective,
                            bool killed) {
  const std::uint32_t tgid = subject.process.pid;
  if (tgid == 0) return 0;
  const std::uint32_t scope = scope_for(subject, effective, killed);
  const auto it = process_.find(tgid);
  const std::uint32_t before = it == process_.end() ? 0 : it->second;
  if (before == scope && !(scope == 0 && unknown_before_)) return scope;
  auto written = scope == 0 ? gate_.clear_process_scope(tgid) : gate_.set_process_scope(tgid, scope);
  if (written) {
    leave(before);
    if (scope == 0) {
      process_.erase(tgid);
    } else {
      process_[tgid] = scope;
      ++active_[scope].members;
    }
  }
  count(std::move(written));
  return scope;
}

std::uint32_t Scopes::place_cgroup(std::uint64_t cgroup_id, const model::Subject& subject,
                                   const std::shared_ptr<const policy::Effective>& effective, bool killed) {
  const std::uint32_t scope = scope_for(subject, effective, killed);
  const auto it = cgroup_.find(cgroup_id);
  if (it != cgroup_.end() && it->second == scope) return scope;
  auto written = gate_.set_cgroup_scope(cgroup_id, scope);
  if (written) {
    if (it != cgroup_.end()) leave(it->second);
    cgroup_[cgroup_id] = scope;
    ++active_[scope].members;
  }
  count(std::move(written));
  return scope;
}

void Scopes::clear_cgroup(std::uint64_t cgroup_id) {
  const auto it = cgroup_.find(cgroup_id);
  if (it == cgroup_.end()) return;
  leave(it->second);
  cgroup_.erase(it);
  count(gate_.clear_cgroup_scope(cgroup_id));
}

void Scopes::forked(std::uint32_t parent, std::uint32_t child) {
  const auto it = process_.find(parent);
  if (it == process_.end()) return;
  const std::uint32_t scope = it->second;
  if (process_.emplace(child, scope).second) ++active_[scope].members;
}

void Scopes::exited(std::uint32_t tgid) {
  const auto it = process_.find(tgid);
  if (it == process_.end()) return;
  leave(it->second);
  process_.erase(it);
}

void Scopes::refill_leases(const LeaseLimit& limit) {
  for (auto& [scope, active] : active_) {
    if (active.effective == nullptr || active.value.on_failure != PN_FAIL_OPEN) continue;
    if (scope == 0 && !policy::scope_settings(*active.effective).gated) continue;
    const policy::Lease left = limit(*active.effective);
    pn_scope_val value = active.value;
    value.lease_requests = lease_value(left.requests);
    value.lease_bytes = lease_value(left.bytes);
    if (value.lease_requests != active.value.lease_requests || value.lease_bytes != active.value.lease_bytes) {
      auto written = gate_.set_scope(scope, value);
      if (written) active.value = value;
      count(std::move(written));
    }
  }
}

}  // namespace penstock::pipeline
