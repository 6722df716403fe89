#include <fmt/format.h>

#include <algorithm>

#include "userspace/api/selector.h"
#include "userspace/model/money.h"
#include "userspace/policy/compiled.h"
#include "userspace/policy/match.h"

namespace penstock::policy {
namespace {

using model::Action;
using model::Mode;

int rank(Action action) {
  switch (action) {
    case Action::kAllow:
      return 0;
    case Action::kPace:
      return 1;
    case Action::kHold:
      return 2;
    case Action::kCut:
    case Action::kDeny:
      return 3;
    case Action::kKill:
      return 4;
  }
  PN_BUG("enum value out of range");
}

std::string amount(BudgetSpec::Unit unit, std::int64_t value) {
  switch (unit) {
    case BudgetSpec::Unit::kNanoUsd:
      return "$" + model::format_usd({value});
    case BudgetSpec::Unit::kTokens:
      return fmt::format("{} tokens", value);
    case BudgetSpec::Unit::kRequests:
      return fmt::format("{} requests", value);
  }
  PN_BUG("enum value out of range");
}

// Of two holds, the one that ends in a refusal is stricter, then the one that ends sooner; of two paces the longer one.
bool stricter(const Finding& a, const Finding& b) {
  if (rank(a.action) != rank(b.action)) return rank(a.action) > rank(b.action);
  if (a.action == Action::kPace) return a.wait_ns > b.wait_ns;
  if (a.action != Action::kHold) return false;
  if (a.then != b.then) return a.then == Action::kDeny;
  return a.wait_ns < b.wait_ns;
}

// Keeps the strictest finding of the enforced and of the observed policies; of two equals the first.
class Collector {
 public:
  void add(Mode mode, Finding finding) {
    std::optional<Finding>& slot = mode == Mode::kObserve ? observed_ : enforced_;
    if (!slot || stricter(finding, *slot)) slot = std::move(finding);
  }
  Decision decision(const Effective& effective) && {
    Decision d;
    d.verdict.mode = effective.mode;
    d.verdict.reason = "none";
    for (std::uint32_t i : effective.matched) {
      const CompiledPolicy& p = effective.policies->policies[i];
      if (p.mode != effective.mode) continue;
      d.verdict.policy = p.name;
      break;
    }
    if (enforced_) {
      d.verdict.action = enforced_->action;
      d.verdict.policy = enforced_->policy;
      d.verdict.rule = enforced_->rule;
      d.verdict.reason = enforced_->reason;
      d.finding = std::move(enforced_);
    }
    if (observed_ && rank(observed_->action) > rank(d.verdict.action)) d.would = std::move(observed_);
    return d;
  }

 private:
  std::optional<Finding> enforced_;
  std::optional<Finding> observed_;
};

Finding finding(Action action, const CompiledPolicy& policy, std::string rule, std::string_view reason,
                std::string text) {
  Finding f;
  f.action = action;
  f.policy = policy.name;
  f.rule = std::move(rule);
  f.reason = std::string(reason);
  f.text = std::move(text);
  return f;
}

// What was asked for, in a few words.
std::string described(const model::Exchange& e) {
  if (e.kind == model::Kind::kMcp && !e.tool_calls.empty()) return fmt::format("tool {}", e.tool_calls.front().name);
  if (!e.request_model.empty()) return fmt::format("model {} of {}", e.request_model, e.provider);
  if (!e.provider.empty()) return fmt::format("{} of {}", e.operation.empty() ? "a request" : e.operation, e.provider);
  return e.host.empty() ? "a request" : fmt::format("a request to {}", e.host);
}

const KillSwitch* killed_by(const model::Exchange& e, std::span<const KillSwitch> kills) {
  for (const KillSwitch& kill : kills)
    if (api::matches(kill.selector, e)) return &kill;
  return nullptr;
}

Decision kill(const KillSwitch& order, const Effective& effective) {
  Decision d;
  Finding f;
  f.action = Action::kKill;
  f.rule = api::format_selector(order.selector);
  f.reason = "killed";
  f.text =
      order.reason.empty() ? fmt::format("killed: {}", f.rule) : fmt::format("killed: {} ({})", f.rule, order.reason);
  d.verdict = {Action::kKill, effective.mode, "", f.rule, "killed", 0};
  d.finding = std::move(f);
  return d;
}

void judge_denies(const CompiledPolicy& p, const model::Exchange& e, const model::Subject& subject, Collector& out) {
  const Reading reading = p.mode == Mode::kStrict ? Reading::kStrict : Reading::kAny;
  for (const Rule& r : p.rules)
    if (r.kind == Rule::Kind::kDeny && matches(r.target, e, subject, reading))
      return out.add(p.mode, finding(Action::kDeny, p, r.name, "rule", fmt::format("{} is denied", described(e))));
}

void judge_rules(const CompiledPolicy& p, const model::Exchange& e, const Effective& effective, const Context& context,
                 Collector& out, std::vector<std::string>& approvals) {
  judge_denies(p, e, effective.subject, out);
  bool approved = false;
  for (const Rule& r : p.rules) {
    if (r.kind != Rule::Kind::kApprove ||
        !matches(r.target, e, effective.subject, p.mode == Mode::kStrict ? Reading::kStrict : Reading::kAny))
      continue;
    const std::string id = p.name + "/" + r.name;
    const auto answer = std::find_if(context.approvals.begin(), context.approvals.end(),
                                     [&](const Approval& a) { return a.rule == id; });
    if (answer == context.approvals.end()) {
      Finding f = finding(Action::kHold, p, r.name, "approval", fmt::format("{} waits for approval", described(e)));
      f.wait_ns = r.hold_ns;
      f.then = r.then;
      out.add(p.mode, std::move(f));
      if (p.mode != Mode::kObserve) approvals.push_back(id);
    } else if (!answer->approved) {
      out.add(p.mode,
              finding(Action::kDeny, p, r.name, "approval", fmt::format("{} was refused by a person", described(e))));
    }
    approved = true;  // asked for by name: no allow has to name it again
  }
  if (!p.has_allow || approved) return;
  const bool allowed = std::any_of(p.rules.begin(), p.rules.end(), [&](const Rule& r) {
    return r.kind == Rule::Kind::kAllow && matches(r.target, e, effective.subject, Reading::kAll);
  });
  if (!allowed)
    out.add(p.mode,
            finding(Action::kDeny, p, "allow", "rule", fmt::format("{} is not among what is allowed", described(e))));
}

void judge_course(const CompiledPolicy& p, const Context& context, Collector& out) {
  if (p.max_depth && context.delegation_depth && *context.delegation_depth > *p.max_depth)
    out.add(p.mode,
            finding(Action::kDeny, p, "delegation.max_depth", "rule",
                    fmt::format("delegated {} agents deep, {} allowed", *context.delegation_depth, *p.max_depth)));
  for (const LoopOutcome& loop : context.loops) {
    if (loop.policy != p.name) continue;
    const bool same = p.same_calls > 0 && loop.same_calls >= p.same_calls;
    const bool cycle = p.cycles > 0 && loop.cycles >= p.cycles;
    if (!same && !cycle) continue;
    Finding f = finding(p.on_loop, p, same ? "loops.same_call" : "loops.cycle", "loop",
                        same ? fmt::format("the same call {} times", loop.same_calls)
                             : fmt::format("the same sequence of calls {} times", loop.cycles));
    f.wait_ns = p.on_loop == Action::kHold ? p.hold_ns : 0;
    out.add(p.mode, std::move(f));
  }
}

const CompiledPolicy* policy_named(const Effective& effective, std::string_view name) {
  for (const CompiledPolicy& p : effective.policies->policies)
    if (p.name == name) return &p;
  return nullptr;
}

std::string breach_text(const BudgetSpec& spec, const BudgetBreach& b) {
  std::string text =
      fmt::format("budget {}{}{} has {} left of {}; this call may need {}", spec.name, b.key.empty() ? "" : " of ",
                  b.key, amount(spec.unit, b.remaining), amount(spec.unit, b.limit), amount(spec.unit, b.needed));
  if (!spec.window.empty()) text += fmt::format(" (window {})", spec.window);
  return text;
}

// A breach whose number is out of range comes from definitions that have been replaced since: it says nothing about
// these.
void judge_breaches(const Effective& effective, const LedgerOutcome& ledger, Collector& out) {
  const std::vector<BudgetSpec>& specs = effective.policies->budgets;
  for (const BudgetBreach& b : ledger.breaches) {
    if (b.budget >= specs.size()) continue;
    const BudgetSpec& spec = specs[b.budget];
    const CompiledPolicy* p = policy_named(effective, spec.policy);
    if (p == nullptr) continue;
    if (b.cause == BudgetBreach::Cause::kUnpriced) {
      out.add(spec.mode, finding(Action::kDeny, *p, spec.name, "unpriced",
                                 fmt::format("no price is known for this call, and budget {} is in money", spec.name)));
      continue;
    }
    if (b.cause == BudgetBreach::Cause::kUnavailable) {
      out.add(spec.mode, finding(Action::kDeny, *p, spec.name, "budget",
                                 fmt::format("the account of budget {} cannot be kept now", spec.name)));
      continue;
    }
    Finding f = finding(Action::kDeny, *p, spec.name, "budget", breach_text(spec, b));
    if (spec.on_breach == BudgetSpec::OnBreach::kPace && b.retry_after_ns && *b.retry_after_ns <= spec.hold_ns) {
      f.action = Action::kPace;
      f.wait_ns = *b.retry_after_ns;
    } else if (spec.on_breach != BudgetSpec::OnBreach::kDeny) {
      // A pace that waiting does not solve is a hold: somebody may raise the limit.
      f.action = Action::kHold;
      f.wait_ns = spec.hold_ns;
    }
    out.add(spec.mode, std::move(f));
  }
}

// `unpriced: token_cap` lets an unpriced call pass only under a limit in tokens.
void judge_unpriced(const model::Exchange& e, const Effective& effective, const LedgerOutcome& ledger, Collector& out) {
  if (ledger.priced) return;
  std::vector<BudgetUse> uses;
  charges_for(effective, e, uses);
  const std::vector<BudgetSpec>& specs = effective.policies->budgets;
  for (const BudgetUse& use : uses) {
    const BudgetSpec& spec = specs[use.budget];
    const CompiledPolicy* p = policy_named(effective, spec.policy);
    if (spec.unit != BudgetSpec::Unit::kNanoUsd || p == nullptr || p->unpriced != api::Policy::UNPRICED_TOKEN_CAP)
      continue;
    const bool capped = std::any_of(uses.begin(), uses.end(), [&](const BudgetUse& other) {
      return specs[other.budget].unit == BudgetSpec::Unit::kTokens && specs[other.budget].policy == spec.policy;
    });
    if (!capped)
      out.add(spec.mode, finding(Action::kDeny, *p, spec.name, "unpriced",
                                 "no price is known for this call, and no budget in tokens covers it"));
  }
}

}  // namespace

void charges_for(const Effective& effective, const model::Exchange& e, std::vector<BudgetUse>& out) {
  out.clear();
  if (!is_ai(e)) return;
  const bool model_call = e.kind == model::Kind::kLlm || e.kind == model::Kind::kHttp;
  for (const BudgetUse& use : effective.budgets) {
    const BudgetSpec& spec = effective.policies->budgets[use.budget];
    if (!model_call && spec.unit != BudgetSpec::Unit::kRequests) continue;
    if (matches(effective.policies->only[use.budget], e, Reading::kAny)) out.push_back(use);
  }
}

Decision decide(const model::Exchange& e, const Effective& effective, const LedgerOutcome& ledger,
                const Context& context) {
  Collector out;
  std::vector<std::string> approvals;
  if (is_ai(e) || context.opaque) {
    if (const KillSwitch* order = killed_by(e, context.kills)) return kill(*order, effective);
    for (std::uint32_t i : effective.matched) {
      const CompiledPolicy& p = effective.policies->policies[i];
      if (context.opaque) {
        if (p.deny_opaque)
          out.add(p.mode, finding(Action::kDeny, p, "opaque", "opaque",
                                  "traffic to an AI endpoint whose plaintext was not seen"));
        continue;
      }
      judge_rules(p, e, effective, context, out, approvals);
      judge_course(p, context, out);
    }
    if (!context.opaque) {
      for (const Effective::Inherited& i : effective.inherited)
        judge_denies(effective.policies->policies[i.policy], e, effective.ancestors[i.ancestor], out);
    }
    judge_breaches(effective, ledger, out);
    judge_unpriced(e, effective, ledger, out);
  }
  Decision d = std::move(out).decision(effective);
  // Nobody is asked about a request that is refused anyway.
  if (d.verdict.action == Action::kHold) d.approvals = std::move(approvals);
  return d;
}

Decision decide_stream(const model::Exchange& e, const Effective& effective, const LedgerOutcome& ledger,
                       const Context& context) {
  if (const KillSwitch* order = killed_by(e, context.kills)) return kill(*order, effective);
  Collector out;
  const std::vector<BudgetSpec>& specs = effective.policies->budgets;
  for (const BudgetBreach& b : ledger.breaches) {
    if (b.budget >= specs.size() || b.cause == BudgetBreach::Cause::kUnpriced) continue;
    const BudgetSpec& spec = specs[b.budget];
    const CompiledPolicy* p = policy_named(effective, spec.policy);
    if (p == nullptr || !spec.cut_streams) continue;
    out.add(spec.mode, finding(Action::kCut, *p, spec.name, "budget", breach_text(spec, b)));
  }
  return std::move(out).decision(effective);
}

}  // namespace penstock::policy
