// Orders and state beyond one request: policies, kill switches, scopes, leases, and what the kernel holds after a
// restart or a loss.
#include <algorithm>

#include "userspace/api/selector.h"
#include "userspace/base/log.h"
#include "userspace/pipeline/pipeline.h"

namespace penstock::pipeline {
namespace {

ledger::BudgetUnit unit_of(policy::BudgetSpec::Unit unit) {
  switch (unit) {
    case policy::BudgetSpec::Unit::kNanoUsd:
      return ledger::BudgetUnit::kNanoUsd;
    case policy::BudgetSpec::Unit::kTokens:
      return ledger::BudgetUnit::kTokens;
    case policy::BudgetSpec::Unit::kRequests:
      return ledger::BudgetUnit::kRequests;
  }
  return ledger::BudgetUnit::kNanoUsd;
}

ledger::OnBreach on_breach_of(policy::BudgetSpec::OnBreach on_breach) {
  switch (on_breach) {
    case policy::BudgetSpec::OnBreach::kHold:
      return ledger::OnBreach::kHold;
    case policy::BudgetSpec::OnBreach::kPace:
      return ledger::OnBreach::kPace;
    case policy::BudgetSpec::OnBreach::kDeny:
      return ledger::OnBreach::kDeny;
  }
  return ledger::OnBreach::kDeny;
}

base::Result<std::vector<ledger::BudgetSpec>> ledger_specs(std::span<const policy::BudgetSpec> from) {
  std::vector<ledger::BudgetSpec> out;
  for (const policy::BudgetSpec& spec : from) {
    ledger::BudgetSpec& to = out.emplace_back();
    to.policy = spec.policy;
    to.name = spec.name;
    to.per = spec.per;
    to.unit = unit_of(spec.unit);
    to.limit = spec.limit;
    auto window = ledger::Window::parse(spec.window, spec.tz);
    if (!window) return std::move(window).error().at(spec.policy + "/" + spec.name);
    to.window = std::move(window).value();
    to.soft_permille = spec.soft_permille;
    to.on_breach = on_breach_of(spec.on_breach);
    to.strict = spec.mode == model::Mode::kStrict;
    to.allow_unpriced = spec.allow_unpriced;
  }
  return out;
}

std::uint64_t losses(const capture::KernelSnapshot& snapshot) {
  std::uint64_t sum = 0;
  for (const pn_loss_val& kind : snapshot.loss) sum += kind.lost_ring + kind.lost_fault + kind.lost_rate;
  return sum;
}

}  // namespace

base::Result<> Pipeline::set_policies(std::shared_ptr<const policy::CompiledPolicies> policies, bool any_strict) {
  PN_TRY(auto specs, ledger_specs(policy::budgets(*policies)));
  PN_CHECK(parts_.ledger.configure(std::move(specs), ledger_now()));
  policies_ = std::move(policies);
  any_strict_ = any_strict;
  effective_cache_.clear();
  refresh_scopes();
  retry_wanted_ = true;
  // Connections that were not worth copying may be of interest now.
  for (Connection* connection : connections_) {
    if (!connection->ignored() || !parts_.gate.admit(connection->info().socket.cookie, 0, 0)) continue;
    connection->set_ignored(false);
    connection->parser().gap(parsers::Direction::kToServer, 0);
    connection->parser().gap(parsers::Direction::kToClient, 0);
  }
  return {};
}

// ---- scopes --------------------------------------------------------------------------------------------------------

void Pipeline::place(const model::Subject& subject) {
  const auto effective = effective_for(subject);
  parts_.scopes.place(subject, effective, parts_.kills.stops(subject));
  for (Observer* observer : parts_.observers) observer->on_placed(subject, effective->gated);
}

void Pipeline::refresh_scopes() {
  const model::Subject nobody;
  Scopes::Defaults defaults;
  defaults.nobody = std::make_shared<const policy::Effective>(policy::effective(policies_, nobody));
  defaults.any_strict = any_strict_;
  defaults.kills = !parts_.kills.empty();
  parts_.scopes.set_defaults(defaults);
  parts_.subjects.for_each_process([this](const model::Subject& subject) { place(subject); });
}

bool Pipeline::set_cgroup(std::uint64_t cgroup_id, const model::Subject& subject) {
  const auto effective = std::make_shared<const policy::Effective>(policy::effective(policies_, subject));
  const bool killed = parts_.kills.stops(subject);
  if (!effective->gated && !killed) return false;
  parts_.scopes.place_cgroup(cgroup_id, subject, effective, killed);
  return true;
}

void Pipeline::clear_cgroup(std::uint64_t cgroup_id) { parts_.scopes.clear_cgroup(cgroup_id); }

// What may be sent without a verdict while no daemon runs: never more than the budgets have left.
policy::Lease Pipeline::lease_left(const policy::Effective& effective) {
  policy::Lease lease = effective.lease;
  const std::span<const policy::BudgetSpec> specs = policy::budgets(*effective.policies);
  model::Exchange anything;
  for (const policy::BudgetUse& use : effective.budgets) {
    const policy::BudgetSpec& spec = specs[use.budget];
    if (spec.mode == model::Mode::kObserve) continue;
    anything.subject = use.payer == 0 ? effective.subject : effective.ancestors[use.payer - 1];
    const auto status = parts_.ledger.status(use.budget, ledger::key_of(spec.per, anything), ledger_now());
    const std::int64_t remaining = status ? status->remaining : spec.limit;
    if (remaining <= 0) {
      lease = {};
    } else if (spec.unit == policy::BudgetSpec::Unit::kRequests) {
      lease.requests = std::min(lease.requests, static_cast<std::uint64_t>(remaining));
    } else if (spec.unit == policy::BudgetSpec::Unit::kTokens) {
      // A token is at least a byte: so many bytes are no more than so many tokens of input.
      lease.bytes = std::min(lease.bytes, static_cast<std::uint64_t>(remaining));
    } else {
      const std::int64_t dearest = dearest_call_.value > 0 ? dearest_call_.value : remaining;
      lease.requests = std::min(lease.requests, static_cast<std::uint64_t>(remaining / dearest));
    }
  }
  return lease;
}

void Pipeline::refill_leases() {
  parts_.scopes.refill_leases([this](const policy::Effective& effective) { return lease_left(effective); });
}

// ---- kill and release ----------------------------------------------------------------------------------------------

bool Pipeline::order_hits(const api::Selector& selector, const Connection& connection) {
  switch (selector.target_case()) {
    case api::Selector::kProvider:
      return connection.provider() == selector.provider();
    case api::Selector::kModel:
      return connection.model() == selector.model();
    default:
      return api::matches(selector, parts_.subjects.subject(connection.info().socket.tgid));
  }
}

base::Result<KillOutcome> Pipeline::kill(const api::KillSwitch& order, bool sigkill) {
  const std::uint64_t began = now_ns();
  PN_CHECK(parts_.kills.add(order));
  KillOutcome outcome;
  // From here on the default scope gates and verdicts know the order; then what lives is ended; then everybody is
  // placed.
  Scopes::Defaults defaults;
  defaults.nobody = std::make_shared<const policy::Effective>(policy::effective(policies_, model::Subject{}));
  defaults.any_strict = any_strict_;
  defaults.kills = true;
  parts_.scopes.set_defaults(defaults);

  const std::uint64_t held_before = held_.size();
  std::vector<Connection*> targets;
  for (Connection* connection : connections_) {
    if (!connection->destroyed() && (connection->ai() || connection->holding()) &&
        order_hits(order.selector(), *connection))
      targets.push_back(connection);
  }
  for (Connection* connection : targets) {
    const auto effective = effective_for(parts_.subjects.subject(connection->info().socket.tgid));
    model::Verdict verdict{
        model::Action::kKill, effective->mode, {}, api::format_selector(order.selector()), "killed", 0};
    connection->destroy(verdict, order.reason().empty() ? "killed" : "killed: " + order.reason());
    ++outcome.connections_destroyed;
    note_span(Span::kKill, now_ns() - began, connection->provider());
  }
  outcome.held_refused = held_before - std::min<std::uint64_t>(held_before, held_.size());
  std::unordered_set<std::uint32_t> scopes;
  refresh_scopes();
  parts_.subjects.for_each_process([&](const model::Subject& subject) {
    if (!api::matches(order.selector(), subject)) return;
    ++outcome.processes;
    scopes.insert(parts_.scopes.place(subject, effective_for(subject), parts_.kills.stops(subject)));
    if (order.freeze() && !sigkill) note_control(parts_.processes.freeze(subject, true));
    if (sigkill) note_control(parts_.processes.sigkill(subject.process));
  });
  outcome.scopes = static_cast<std::uint32_t>(scopes.size());
  return outcome;
}

void Pipeline::note_control(const base::Result<>& result) {
  if (result) return;
  ++stats_.control_errors;
  base::log_warning("process_control failed error=\"{}\"", result.error().message());
}

base::Result<Pipeline::ReleaseOutcome> Pipeline::release(const api::Selector& selector) {
  ReleaseOutcome outcome;
  bool frozen = false;
  for (const api::KillSwitch& order : parts_.kills.list().kills()) {
    if (api::format_selector(order.selector()) == api::format_selector(selector)) frozen = order.freeze();
  }
  if (selector.target_case() != api::Selector::kExchange) {
    PN_TRY(const bool lifted, parts_.kills.remove(selector));
    if (lifted) {
      outcome.kills_lifted = 1;
      refresh_scopes();
      if (frozen) {
        parts_.subjects.for_each_process([&](const model::Subject& subject) {
          if (api::matches(selector, subject)) note_control(parts_.processes.freeze(subject, false));
        });
      }
      retry_wanted_ = true;
      return outcome;
    }
  }
  std::vector<std::uint64_t> orders;
  for (const auto& [order, entry] : held_) {
    if (api::matches(selector, *entry.second->exchange)) orders.push_back(order);
  }
  for (const std::uint64_t order : orders) {
    const auto it = held_.find(order);
    if (it == held_.end()) continue;
    const auto [connection, pending] = it->second;
    pending->released = true;
    judge(*connection, *pending);
    if (pending->stage == Stage::kAdmitted) ++outcome.held_released;
    connection->update();
  }
  if (outcome.held_released == 0) {
    return base::Error{
        base::ErrorCode::kNotFound, 0,
        "nothing to release: no kill switch and no held request matches " + api::format_selector(selector),
        "penstock status and penstock top show what is killed or held"};
  }
  return outcome;
}

// ---- restart and loss ----------------------------------------------------------------------------------------------

void Pipeline::resync() {
  const std::uint64_t now = now_ns();
  for (const gate::HeldConnection& held : parts_.gate.held()) {
    auto* connection = static_cast<Connection*>(tracker_.find_cookie(held.cookie));
    if (connection != nullptr) {
      if (connection->destroyed()) continue;
      if (held.gate.hold_pos != PN_OPAQUE_POS && connection->known_end() > held.gate.hold_pos) {
        if (!connection->holding()) connection->admit_again();
        continue;
      }
    }
    const auto [it, fresh] = orphans_.try_emplace(held.cookie);
    if (!fresh && it->second.hold_pos == held.gate.hold_pos) continue;
    it->second = {held.socket, held.gate.hold_pos, now + options_.orphan_grace_ns, held.gate.expired};
    ++stats_.orphans;
  }
}

void Pipeline::refuse_orphans(std::uint64_t now) {
  const bool due = std::any_of(orphans_.begin(), orphans_.end(),
                               [now](const auto& entry) { return entry.second.refuse_at_ns <= now; });
  if (!due) return;
  std::unordered_map<std::uint64_t, std::uint64_t> still;  // cookie -> hold_pos
  for (const gate::HeldConnection& held : parts_.gate.held()) still[held.cookie] = held.gate.hold_pos;
  for (auto it = orphans_.begin(); it != orphans_.end();) {
    const Orphan& orphan = it->second;
    auto* connection = static_cast<Connection*>(tracker_.find_cookie(it->first));
    const auto found = still.find(it->first);
    const bool settled = found == still.end() || found->second != orphan.hold_pos;
    const bool known = connection != nullptr && (connection->destroyed() || connection->known_end() > orphan.hold_pos);
    if (settled || known) {
      it = orphans_.erase(it);
      continue;
    }
    if (orphan.refuse_at_ns > now) {
      ++it;
      continue;
    }
    // What it says will never be known: a request that nobody can judge does not leave.
    if (parts_.gate.destroy(orphan.socket)) {
      ++stats_.orphans_refused;
      it = orphans_.erase(it);
    } else {
      ++stats_.gate_errors;
      it->second.refuse_at_ns = now + options_.destroy_retry_ns;
      ++it;
    }
  }
}

void Pipeline::check_loss(std::uint64_t now) {
  if (parts_.counters == nullptr) return;
  const capture::KernelSnapshot next = parts_.counters->read_counters();
  const std::uint64_t before = losses(kernel_), after = losses(next);
  kernel_ = next;
  if (after == before) return;
  ++stats_.loss_resyncs;
  resync();
  std::unordered_set<std::uint64_t> live;
  for (const gate::SocketRef& socket : parts_.gate.connections()) live.insert(socket.cookie);
  const std::uint64_t quiet = options_.orphan_grace_ns;
  tracker_.reconcile(live, now > quiet ? now - quiet : 0, now);
}

}  // namespace penstock::pipeline
