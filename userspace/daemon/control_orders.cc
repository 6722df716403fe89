// Budgets, kill switches, held requests, and the tables of prices.
#include <fmt/format.h>
#include <pwd.h>

#include <algorithm>

#include "userspace/api/selector.h"
#include "userspace/daemon/control_api.h"
#include "userspace/model/names.h"

namespace penstock::daemon {
namespace {

const char* spelling(ledger::OnBreach on_breach) {
  switch (on_breach) {
    case ledger::OnBreach::kHold:
      return "hold";
    case ledger::OnBreach::kPace:
      return "pace";
    case ledger::OnBreach::kDeny:
      return "deny";
    case ledger::OnBreach::kCut:
      return "cut";
  }
  return "deny";
}

std::string user_name(uid_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  char buffer[4096];
  if (::getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr) return found->pw_name;
  return std::to_string(uid);
}

}  // namespace

// ---- budgets -------------------------------------------------------------------------------------------------------

api::BudgetState ControlApi::state_of(const ledger::BudgetStatus& status) const {
  api::BudgetState out;
  out.set_name(status.name);
  out.set_policy(status.policy);
  out.set_key(status.key);
  api::Meter* meter = status.unit == ledger::BudgetUnit::kNanoUsd  ? out.mutable_nano_usd()
                      : status.unit == ledger::BudgetUnit::kTokens ? out.mutable_tokens()
                                                                   : out.mutable_requests();
  meter->set_limit(status.limit);
  meter->set_spent(status.spent);
  meter->set_reserved(status.reserved);
  meter->set_remaining(status.remaining);
  out.set_window(status.window);
  if (status.reset_real_ns) out.set_resets_real_ns(*status.reset_real_ns);
  out.set_on_breach(spelling(status.on_breach));
  std::uint32_t soft = 0;
  if (const auto id = d_.ledger_->find(status.policy, status.name)) {
    const auto& permille = d_.ledger_->specs()[*id].soft_permille;
    if (!permille.empty()) soft = permille.front();
  }
  if (soft > 0) out.set_soft_percent(soft / 10);
  const model::Int128 used = model::Int128{status.spent} + status.reserved;
  out.set_state(status.remaining <= 0                                           ? "breached"
                : soft > 0 && used * 1000 >= model::Int128{status.limit} * soft ? "soft"
                                                                                : "ok");
  if (status.limit_overridden) out.set_overridden(true);
  return out;
}

base::Result<api::BudgetList> ControlApi::list_budgets(const api::Peer&, const api::ListBudgetsRequest& request) {
  const std::string wanted = api::format_selector(request.selector());
  const auto shown = [&](const std::string& policy, const std::string& name, const std::string& key) {
    if (request.has_policy() && request.policy() != policy) return false;
    if (request.has_name() && request.name() != name) return false;
    return wanted.empty() || wanted == "all" || key.find(wanted) != std::string::npos;
  };
  api::BudgetList out;
  std::map<std::pair<std::string, std::string>, bool> seen;
  for (const ledger::BudgetStatus& status : d_.ledger_->list(d_.ledger_now())) {
    seen[{status.policy, status.name}] = true;
    if (shown(status.policy, status.name, status.key)) *out.add_budgets() = state_of(status);
  }
  // A budget for everybody exists before its first call; one per agent, run, … has no account until then.
  for (const ledger::BudgetSpec& spec : d_.ledger_->specs()) {
    if (!spec.per.empty() || seen.contains({spec.policy, spec.name}) || !shown(spec.policy, spec.name, {})) continue;
    const ledger::BudgetStatus fresh{.policy = spec.policy,
                                     .name = spec.name,
                                     .key = {},
                                     .unit = spec.unit,
                                     .limit = spec.limit,
                                     .limit_overridden = false,
                                     .spent = 0,
                                     .estimated = 0,
                                     .reserved = 0,
                                     .remaining = spec.limit,
                                     .in_flight = 0,
                                     .window = spec.window.text(),
                                     .reset_real_ns = std::nullopt,
                                     .on_breach = spec.on_breach,
                                     .breaches = 0};
    *out.add_budgets() = state_of(fresh);
  }
  return out;
}

base::Result<std::vector<ledger::BudgetId>> ControlApi::find_budget(const std::string& name,
                                                                    const std::optional<std::string>& policy,
                                                                    std::optional<ledger::BudgetUnit> unit) const {
  std::vector<ledger::BudgetId> found;
  std::vector<std::string> policies;
  const auto& specs = d_.ledger_->specs();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    // A budget with limits in several units is several accounts: "daily.usd", "daily.tokens".
    const bool named = specs[i].name == name || specs[i].name.substr(0, specs[i].name.rfind('.')) == name;
    if (!named || (policy && specs[i].policy != *policy) || (unit && specs[i].unit != *unit)) continue;
    found.push_back(static_cast<ledger::BudgetId>(i));
    if (std::find(policies.begin(), policies.end(), specs[i].policy) == policies.end())
      policies.push_back(specs[i].policy);
  }
  if (found.empty()) {
    return base::Error{base::ErrorCode::kNotFound, 0, fmt::format("no budget {}{}", policy ? *policy + "/" : "", name),
                       "penstock budget list shows them, with their units"};
  }
  if (policies.size() > 1) {
    return base::Error{base::ErrorCode::kUsage, 0, fmt::format("{} policies have a budget {}", policies.size(), name),
                       "name the policy too"};
  }
  return found;
}

base::Result<> ControlApi::make_durable() {
  // A person is told only what a power loss cannot take back.
  return d_.ledger_->flush(d_.ledger_now(), 2'000'000'000);
}

api::BudgetList ControlApi::states_of(const std::vector<ledger::BudgetId>& budgets,
                                      const std::optional<std::string>& key) const {
  api::BudgetList out;
  for (const ledger::BudgetStatus& status : d_.ledger_->list(d_.ledger_now())) {
    const auto id = d_.ledger_->find(status.policy, status.name);
    if (!id || std::find(budgets.begin(), budgets.end(), *id) == budgets.end()) continue;
    if (key && status.key != *key) continue;
    *out.add_budgets() = state_of(status);
  }
  return out;
}

base::Result<api::BudgetList> ControlApi::set_budget(const api::Peer&, const api::SetBudgetRequest& request) {
  struct Limit {
    ledger::BudgetUnit unit;
    std::int64_t value;
  };
  std::vector<Limit> limits;
  const auto clamp = [](std::uint64_t v) {
    return static_cast<std::int64_t>(std::min<std::uint64_t>(v, static_cast<std::uint64_t>(INT64_MAX)));
  };
  if (request.has_limit_nano_usd()) limits.push_back({ledger::BudgetUnit::kNanoUsd, request.limit_nano_usd()});
  if (request.has_limit_tokens()) limits.push_back({ledger::BudgetUnit::kTokens, clamp(request.limit_tokens())});
  if (request.has_limit_requests()) limits.push_back({ledger::BudgetUnit::kRequests, clamp(request.limit_requests())});
  std::optional<std::string> policy, key;
  if (request.has_policy()) policy = request.policy();
  if (request.has_key()) key = request.key();
  if (limits.empty()) {
    PN_TRY([[maybe_unused]] const auto known, find_budget(request.name(), policy, std::nullopt));
    return base::Error{base::ErrorCode::kUsage, 0, "no limit is given", "use --usd, --tokens or --requests"};
  }
  std::vector<std::pair<ledger::BudgetId, std::int64_t>> changes;
  for (const Limit& limit : limits) {
    if (limit.value < 0) return base::Error{base::ErrorCode::kUsage, 0, "a limit below 0", {}};
    PN_TRY(const auto found, find_budget(request.name(), policy, limit.unit));
    for (const ledger::BudgetId id : found) changes.emplace_back(id, limit.value);
  }
  std::vector<ledger::BudgetId> changed;
  for (const auto& [id, value] : changes) {
    PN_CHECK(
        d_.ledger_->set_limit(id, key ? std::optional<std::string_view>(*key) : std::nullopt, value, d_.ledger_now()));
    changed.push_back(id);
  }
  PN_CHECK(make_durable());
  return states_of(changed, key);
}

base::Result<api::BudgetList> ControlApi::reset_budget(const api::Peer&, const api::ResetBudgetRequest& request) {
  std::optional<std::string> policy, key;
  if (request.has_policy()) policy = request.policy();
  if (request.has_key()) key = request.key();
  PN_TRY(const auto found, find_budget(request.name(), policy, std::nullopt));
  for (const ledger::BudgetId id : found)
    PN_CHECK(d_.ledger_->reset(id, key ? std::optional<std::string_view>(*key) : std::nullopt, d_.ledger_now()));
  PN_CHECK(make_durable());
  return states_of(found, key);
}

// ---- kill, release, held -------------------------------------------------------------------------------------------

bool ControlApi::selects_anything(const api::Selector& selector) const {
  switch (selector.target_case()) {
    case api::Selector::kAll:
    case api::Selector::kModel:
    case api::Selector::kProvider:
      return true;
    default:
      break;
  }
  for (const auto& [name, activity] : d_.activity_.agents()) {
    if (api::matches(selector, activity.subject)) return true;
  }
  for (const auto& [id, run] : d_.runs_->all()) {
    if (selector.run() == id || selector.agent() == run.agent) return true;
  }
  // Names that the configuration gives exist before anybody bears them.
  for (const auto& name : d_.settings_.config.agents()) {
    if (selector.target_case() == api::Selector::kAgent && selector.agent() == name.name()) return true;
  }
  bool found = false;
  d_.subjects_->for_each_process(
      [&](const model::Subject& subject) { found = found || api::matches(selector, subject); });
  return found;
}

base::Result<api::KillResponse> ControlApi::kill(const api::Peer& peer, const api::KillRequest& request) {
  const std::string text = api::format_selector(request.selector());
  if (!text.empty() && request.selector().target_case() != api::Selector::kExchange &&
      !selects_anything(request.selector())) {
    return base::Error{base::ErrorCode::kNotFound, 0, "nothing here is " + text, "penstock agents shows who is"};
  }
  api::KillSwitch order;
  *order.mutable_selector() = request.selector();
  order.set_reason(request.reason());
  order.set_since_real_ns(d_.clock_.real_ns());
  order.set_by(user_name(peer.uid));
  order.set_freeze(request.freeze());
  PN_TRY(const pipeline::KillOutcome outcome, d_.pipeline_->kill(order, request.sigkill()));
  d_.place_cgroups();
  api::KillResponse out;
  *out.mutable_selector() = request.selector();
  out.set_connections_destroyed(outcome.connections_destroyed);
  out.set_held_refused(outcome.held_refused);
  out.set_scopes(outcome.scopes);
  out.set_processes(outcome.processes);
  return out;
}

base::Result<api::ReleaseResponse> ControlApi::release(const api::Peer&, const api::ReleaseRequest& request) {
  if (api::format_selector(request.selector()).empty())
    return base::Error{base::ErrorCode::kUsage, 0, "release needs a selector", "e.g. agent=NAME, exchange=ID or all"};
  PN_TRY(const auto outcome, d_.pipeline_->release(request.selector()));
  if (outcome.kills_lifted > 0) d_.place_cgroups();
  api::ReleaseResponse out;
  *out.mutable_selector() = request.selector();
  out.set_kills_lifted(outcome.kills_lifted);
  out.set_held_released(outcome.held_released);
  return out;
}

base::Result<api::KillList> ControlApi::list_kills(const api::Peer&, const api::ListKillsRequest&) {
  return d_.kills_->list();
}

base::Result<api::HeldList> ControlApi::list_held(const api::Peer&, const api::ListHeldRequest& request) {
  const std::uint64_t now = d_.clock_.boot_ns();
  const std::int64_t real = d_.clock_.real_ns();
  const auto as_real = [&](std::uint64_t boot) {
    return real + static_cast<std::int64_t>(boot) - static_cast<std::int64_t>(now);
  };
  api::HeldList out;
  for (const pipeline::HeldView& view : d_.pipeline_->held()) {
    const model::Exchange& exchange = *view.pending->exchange;
    if (!api::matches(request.selector(), exchange)) continue;
    api::HeldRequest& held = *out.add_held();
    held.set_exchange(exchange.id);
    if (!exchange.subject.agent.empty()) held.set_agent(exchange.subject.agent);
    if (!exchange.subject.run.empty()) held.set_run(exchange.subject.run);
    if (exchange.subject.process.pid != 0) held.set_pid(exchange.subject.process.pid);
    if (!exchange.provider.empty()) held.set_provider(exchange.provider);
    if (!exchange.request_model.empty()) held.set_model(exchange.request_model);
    if (!exchange.host.empty()) held.set_host(exchange.host);
    const model::Verdict& verdict = view.pending->held_verdict;
    held.set_reason(verdict.reason);
    if (!verdict.policy.empty()) held.set_policy(verdict.policy);
    if (!verdict.rule.empty()) held.set_rule(verdict.rule);
    held.set_since_real_ns(as_real(view.pending->held_since_ns));
    if (view.pending->give_up_at_ns != 0) held.set_deadline_real_ns(as_real(view.pending->give_up_at_ns));
    if (const auto& upper = view.pending->upper; upper && upper->cost) held.set_estimated_nano_usd(upper->cost->value);
  }
  return out;
}

// ---- prices ------------------------------------------------------------------------------------

base::Result<api::PriceList> ControlApi::list_prices(const api::Peer&, const api::ListPricesRequest& request) {
  api::PriceList out;
  const auto set = [](const std::optional<ledger::Rate>& rate, auto setter) {
    if (rate) setter(rate->base.value);
  };
  for (const ledger::PriceListing& row :
       d_.prices_->search(request.has_model() ? request.model() : request.provider(), 10'000)) {
    if (request.has_provider() && row.provider != request.provider()) continue;
    api::Price& price = *out.add_prices();
    price.set_provider(row.provider);
    price.set_model(row.model);
    const auto rate = [&row](ledger::RateUnit unit) { return row.rates[static_cast<std::size_t>(unit)]; };
    set(rate(ledger::RateUnit::kInput), [&](std::int64_t v) { price.set_input_nano_usd_per_million(v); });
    set(rate(ledger::RateUnit::kOutput), [&](std::int64_t v) { price.set_output_nano_usd_per_million(v); });
    set(rate(ledger::RateUnit::kCacheRead), [&](std::int64_t v) { price.set_cache_read_nano_usd_per_million(v); });
    set(rate(ledger::RateUnit::kCacheWrite), [&](std::int64_t v) { price.set_cache_write_nano_usd_per_million(v); });
    if (!row.source.empty()) price.set_source(row.source);
  }
  return out;
}

}  // namespace penstock::daemon
