#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "userspace/api/glob.h"
#include "userspace/api/spelling.h"
#include "userspace/policy/check.h"
#include "userspace/policy/compiled.h"
#include "userspace/policy/match.h"

namespace penstock::policy {
namespace {

// A chain longer than this is cut: its far end adds nothing but work for every request.
constexpr std::size_t kMaxAncestors = 16;

model::Mode mode_of(api::Mode mode, model::Mode otherwise) {
  switch (mode) {
    case api::MODE_OBSERVE:
      return model::Mode::kObserve;
    case api::MODE_ENFORCE:
      return model::Mode::kEnforce;
    case api::MODE_STRICT:
      return model::Mode::kStrict;
    default:
      return otherwise;
  }
}

std::optional<OnFailure> on_failure_of(api::OnFailure value) {
  switch (value) {
    case api::ON_FAILURE_HOLD_LAST:
      return OnFailure::kHoldLast;
    case api::ON_FAILURE_OPEN:
      return OnFailure::kOpen;
    case api::ON_FAILURE_CLOSED:
      return OnFailure::kClosed;
    default:
      return std::nullopt;
  }
}

// open < hold-last < closed
int strictness(OnFailure value) { return value == OnFailure::kClosed ? 2 : value == OnFailure::kHoldLast ? 1 : 0; }

BudgetSpec::OnBreach on_breach_of(api::OnBreach value) {
  switch (value) {
    case api::ON_BREACH_HOLD:
      return BudgetSpec::OnBreach::kHold;
    case api::ON_BREACH_PACE:
      return BudgetSpec::OnBreach::kPace;
    default:
      return BudgetSpec::OnBreach::kDeny;
  }
}

std::int64_t clamp(std::uint64_t value) {
  return static_cast<std::int64_t>(std::min<std::uint64_t>(value, std::numeric_limits<std::int64_t>::max()));
}

Lease lease_of(const api::Policy::Lease& lease, const Lease& otherwise) {
  return {lease.has_requests() ? lease.requests() : otherwise.requests,
          lease.has_bytes() ? lease.bytes() : otherwise.bytes};
}

void add_budgets(const api::Policy& source, const Defaults& defaults, CompiledPolicy& policy, CompiledPolicies& out) {
  for (const api::Policy::Budget& b : source.budgets()) {
    BudgetSpec spec;
    spec.policy = source.name();
    spec.per.assign(b.per().begin(), b.per().end());
    if (b.has_window()) spec.window = api::format_window(b.window());
    spec.tz = b.tz();
    spec.soft_permille.assign(b.soft_permille().begin(), b.soft_permille().end());
    spec.on_breach = on_breach_of(b.on_breach());
    spec.hold_ns = b.has_hold_ns() ? b.hold_ns() : defaults.hold_ns;
    spec.cut_streams = b.on_stream() == api::Policy::ON_STREAM_UNSPECIFIED
                           ? b.on_breach() != api::ON_BREACH_PACE
                           : b.on_stream() == api::Policy::ON_STREAM_CUT;
    spec.allow_unpriced = policy.unpriced != api::Policy::UNPRICED_REFUSE;
    spec.mode = policy.mode;
    const bool several = b.has_nano_usd() + b.has_tokens() + b.has_requests() > 1;
    const auto add = [&](BudgetSpec::Unit unit, std::string_view suffix, std::int64_t limit) {
      spec.unit = unit;
      spec.limit = limit;
      spec.name = several ? fmt::format("{}.{}", b.name(), suffix) : b.name();
      policy.budgets.push_back(static_cast<std::uint32_t>(out.budgets.size()));
      out.budgets.push_back(spec);
      out.only.push_back(b.only());
    };
    if (b.has_nano_usd()) add(BudgetSpec::Unit::kNanoUsd, "usd", b.nano_usd());
    if (b.has_tokens()) add(BudgetSpec::Unit::kTokens, "tokens", clamp(b.tokens()));
    if (b.has_requests()) add(BudgetSpec::Unit::kRequests, "requests", clamp(b.requests()));
  }
}

void add_rules(const api::Policy& source, const Defaults& defaults, CompiledPolicy& policy) {
  for (int i = 0; i < source.rules_size(); ++i) {
    const api::Policy::Rule& r = source.rules(i);
    Rule rule;
    std::string_view kind = "deny";
    if (r.has_deny()) {
      rule.target = r.deny();
    } else if (r.has_approve()) {
      rule.kind = Rule::Kind::kApprove;
      rule.target = r.approve();
      kind = "approve";
    } else {
      rule.kind = Rule::Kind::kAllow;
      rule.target = r.allow();
      kind = "allow";
      policy.has_allow = true;
    }
    rule.name = r.name().empty() ? fmt::format("{}-{}", kind, i + 1) : r.name();
    rule.hold_ns = r.has_hold_ns() ? r.hold_ns() : defaults.hold_ns;
    rule.then = r.otherwise() == api::OTHERWISE_ALLOW ? model::Action::kAllow : model::Action::kDeny;
    policy.rules.push_back(std::move(rule));
  }
}

CompiledPolicy compile_one(const api::Policy& source, CompiledPolicies& out) {
  const Defaults& defaults = out.defaults;
  CompiledPolicy p;
  p.name = source.name();
  p.match = source.match();
  p.mode = mode_of(source.mode(), defaults.mode);
  p.on_failure = on_failure_of(source.on_failure());
  if (source.has_deadline_ns()) p.deadline_ns = source.deadline_ns();
  if (source.has_lease()) p.lease = lease_of(source.lease(), defaults.lease);
  p.deny_opaque = source.opaque() == api::Policy::OPAQUE_DENY ||
                  (source.opaque() == api::Policy::OPAQUE_UNSPECIFIED && p.mode == model::Mode::kStrict);
  if (source.unpriced() != api::Policy::UNPRICED_UNSPECIFIED) p.unpriced = source.unpriced();
  add_budgets(source, defaults, p, out);
  add_rules(source, defaults, p);
  if (source.delegation().has_max_depth()) p.max_depth = source.delegation().max_depth();
  if (source.delegation().inherit_size() > 0) {
    const auto& inherit = source.delegation().inherit();
    p.inherit_budgets = std::find(inherit.begin(), inherit.end(), api::Policy::INHERIT_BUDGETS) != inherit.end();
    p.inherit_denies = std::find(inherit.begin(), inherit.end(), api::Policy::INHERIT_DENIES) != inherit.end();
  }
  p.same_calls = source.loops().same_call().count();
  p.cycles = source.loops().cycle();
  p.on_loop = source.loops().on_breach() == api::ON_BREACH_DENY ? model::Action::kDeny : model::Action::kHold;
  p.hold_ns = defaults.hold_ns;
  return p;
}

}  // namespace

bool CompiledPolicy::may_refuse() const {
  return !budgets.empty() || !rules.empty() || same_calls > 0 || cycles > 0 || max_depth.has_value();
}

std::string_view singled_out_by(const Effective& e, bool beyond_user) {
  for (const std::uint32_t index : e.matched) {
    const CompiledPolicy& p = e.policies->policies[index];
    const bool acts = p.mode == model::Mode::kStrict || (p.mode == model::Mode::kEnforce && p.may_refuse());
    if (acts && singles_out(p.match, beyond_user)) return p.name;
  }
  return {};
}

std::string_view name(OnFailure value) {
  switch (value) {
    case OnFailure::kHoldLast:
      return "hold-last";
    case OnFailure::kOpen:
      return "open";
    case OnFailure::kClosed:
      return "closed";
  }
  PN_BUG("enum value out of range");
}

Defaults defaults_from(const api::Config::Defaults& config) {
  Defaults d;
  d.mode = mode_of(config.mode(), d.mode);
  d.on_failure = on_failure_of(config.on_failure()).value_or(d.on_failure);
  if (config.has_deadline_ns()) d.deadline_ns = config.deadline_ns();
  if (config.has_hold_ns()) d.hold_ns = config.hold_ns();
  d.lease = lease_of(config.lease(), d.lease);
  return d;
}

base::Result<std::shared_ptr<const CompiledPolicies>> compile(const api::PolicySet& set, const Defaults& defaults,
                                                              const Support& support) {
  const std::vector<api::Diagnostic> diagnostics = check(set, support);
  if (api::has_errors(diagnostics)) return api::to_error(diagnostics);
  auto out = std::make_shared<CompiledPolicies>();
  out->defaults = defaults;
  for (const api::Policy& policy : set.policies()) out->policies.push_back(compile_one(policy, *out));
  return std::shared_ptr<const CompiledPolicies>(std::move(out));
}

std::span<const BudgetSpec> budgets(const CompiledPolicies& policies) { return policies.budgets; }

Effective effective(const std::shared_ptr<const CompiledPolicies>& policies, const model::Subject& subject,
                    std::span<const model::Subject> ancestors) {
  Effective e;
  e.policies = policies;
  e.subject = subject;
  const std::size_t chain = std::min(ancestors.size(), kMaxAncestors);
  e.ancestors.assign(ancestors.begin(), ancestors.begin() + static_cast<std::ptrdiff_t>(chain));
  const Defaults& defaults = policies->defaults;
  std::optional<OnFailure> on_failure;
  std::optional<std::uint64_t> deadline;
  std::optional<Lease> lease;

  const auto count_in = [&](const CompiledPolicy& p, bool may_refuse) {
    e.mode = std::max(e.mode, p.mode);
    if (p.mode == model::Mode::kObserve) return;  // it never acts: not by its settings either
    e.gated = e.gated || may_refuse || p.mode == model::Mode::kStrict;
    if (p.on_failure && (!on_failure || strictness(*p.on_failure) > strictness(*on_failure))) on_failure = p.on_failure;
    if (p.deadline_ns) deadline = std::min(deadline.value_or(*p.deadline_ns), *p.deadline_ns);
    if (p.lease) {
      const Lease so_far = lease.value_or(*p.lease);
      lease = Lease{std::min(so_far.requests, p.lease->requests), std::min(so_far.bytes, p.lease->bytes)};
    }
  };

  for (std::uint32_t i = 0; i < policies->policies.size(); ++i) {
    const CompiledPolicy& p = policies->policies[i];
    const bool direct = matches(p.match, subject);
    if (direct) {
      e.matched.push_back(i);
      for (std::uint32_t number : p.budgets) e.budgets.push_back({number, 0});
      count_in(p, p.may_refuse());
      if (p.mode != model::Mode::kObserve && p.deny_opaque) e.deny_opaque = true;
    }
    bool inherits_denies = false;
    for (std::uint32_t a = 0; a < e.ancestors.size(); ++a) {
      if (!matches(p.match, e.ancestors[a])) continue;
      if (p.inherit_budgets)
        for (std::uint32_t number : p.budgets) e.budgets.push_back({number, a + 1});
      const bool has_denies =
          std::any_of(p.rules.begin(), p.rules.end(), [](const Rule& r) { return r.kind == Rule::Kind::kDeny; });
      if (!direct && !inherits_denies && p.inherit_denies && has_denies) {
        e.inherited.push_back({i, a});
        inherits_denies = true;
      }
      const bool contributes = (p.inherit_budgets && !p.budgets.empty()) || inherits_denies;
      if (!direct && contributes) count_in(p, true);
    }
  }
  e.on_failure = on_failure.value_or(defaults.on_failure);
  e.deadline_ns = deadline.value_or(defaults.deadline_ns);
  e.lease = lease.value_or(defaults.lease);
  return e;
}

ScopeSettings scope_settings(const Effective& e) {
  return {e.gated, e.deny_opaque, e.mode, e.on_failure, e.deadline_ns, e.lease.requests, e.lease.bytes};
}

api::Policy run_policy(std::string_view run_id, const RunLimits& limits) {
  api::Policy p;
  // A policy's name has fewer characters than a run's id may have; the match is exact, the name is for people.
  std::string name = "run-";
  for (char c : run_id.substr(0, 96)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    const bool upper = c >= 'A' && c <= 'Z';
    name += plain ? c : upper ? static_cast<char>(c - 'A' + 'a') : '-';
  }
  p.set_name(std::move(name));
  p.mutable_match()->add_run(api::glob_escape(run_id));
  switch (limits.mode.value_or(model::Mode::kEnforce)) {
    case model::Mode::kObserve:
      p.set_mode(api::MODE_OBSERVE);
      break;
    case model::Mode::kEnforce:
      p.set_mode(api::MODE_ENFORCE);
      break;
    case model::Mode::kStrict:
      p.set_mode(api::MODE_STRICT);
      break;
  }
  const auto add = [&](std::string_view budget) {
    api::Policy::Budget* b = p.add_budgets();
    b->set_name(std::string(budget));
    b->set_on_breach(api::ON_BREACH_DENY);
    return b;
  };
  if (limits.max_usd) add("max-usd")->set_nano_usd(limits.max_usd->value);
  if (limits.max_tokens) add("max-tokens")->set_tokens(*limits.max_tokens);
  if (limits.max_requests) add("max-requests")->set_requests(*limits.max_requests);
  return p;
}

}  // namespace penstock::policy
