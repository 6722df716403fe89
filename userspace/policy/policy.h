// Policies, compiled, and the decision over one request. Everything here is a pure function of its arguments: no clock,
// no file, no state, so a replayed capture gives the same verdicts. Thread-safe: compiled policies never change.
//
//   compile()      once for each set of policies (at start, reload, `penstock run`)
//   effective()    once for each subject; the caller keeps it until the policies or the subject change
//   charges_for()  for each request: the budgets to reserve in
//   decide()       for each request, with what the ledger answered
//   decide_stream() while the answer streams, when a budget is passed
//
// Each policy is judged on its own; the strictest outcome wins (kill > deny > hold > pace > allow). A policy in observe
// mode never acts: what it would have done is Decision::would.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/api/config.pb.h"
#include "userspace/api/control.pb.h"
#include "userspace/api/policy.pb.h"
#include "userspace/base/result.h"
#include "userspace/model/exchange.h"
#include "userspace/policy/ledger_outcome.h"

namespace penstock::policy {

enum class OnFailure : std::uint8_t { kHoldLast, kOpen, kClosed };
std::string_view name(OnFailure on_failure);  // hold-last open closed

// What a scope may still send without a verdict while the daemon is away.
struct Lease {
  std::uint64_t requests = 0;
  std::uint64_t bytes = 0;
};

// What holds where a policy is silent: `defaults:` of the configuration.
struct Defaults {
  model::Mode mode = model::Mode::kObserve;
  OnFailure on_failure = OnFailure::kHoldLast;
  std::uint64_t deadline_ns = 5'000'000'000;
  std::uint64_t hold_ns = 600'000'000'000;
  Lease lease;
};

Defaults defaults_from(const api::Config::Defaults& config);

// What this build enforces. A policy that asks for anything else is refused by check() and compile(): nothing is
// accepted and then ignored.
struct Support {
  bool cluster = false;      // shared: cluster
  bool approvals = false;    // rules: approve
  bool loops = false;        // loops:
  bool delegation = false;   // delegation:
  bool tools = false;        // `tool` in rules, kinds mcp and a2a: tool calls are parsed and gated
  bool http2_holds = false;  // hold_h2:
  bool kubernetes = false;   // namespace, pod, labels in matches
  // Whether an IANA time zone is known to the ledger; null: any that looks like one passes.
  bool (*timezone_known)(std::string_view) = nullptr;
};

// A limit to configure in the ledger, in one unit: a budget with limits in several units is one BudgetSpec for each,
// named "daily.usd", "daily.tokens". Its index in budgets() is its number everywhere here; configure the ledger in that
// order.
struct BudgetSpec {
  enum class Unit : std::uint8_t { kNanoUsd, kTokens, kRequests };
  enum class OnBreach : std::uint8_t { kHold, kPace, kDeny };
  std::string policy;
  std::string name;
  std::vector<std::string> per;  // dimensions of the key, in the order written
  Unit unit = Unit::kNanoUsd;
  std::int64_t limit = 0;  // in `unit`
  std::string window;      // canonical spelling ("1d", "60s rolling"); empty: never starts anew
  std::string tz;          // IANA name; empty: UTC
  std::vector<std::uint32_t> soft_permille;
  OnBreach on_breach = OnBreach::kDeny;
  std::uint64_t hold_ns = 0;    // longest hold or pace
  bool cut_streams = true;      // an answer that outgrows it is cut
  bool allow_unpriced = false;  // money: a call without a price passes uncounted (decide() still looks at it)
  // The policy's: observed budgets count and never refuse, strict ones are reserved at the upper bound.
  model::Mode mode = model::Mode::kObserve;
};

class CompiledPolicies;  // compiled.h

// One budget that may cover requests of a subject.
struct BudgetUse {
  std::uint32_t budget = 0;
  // Whose attributes make the key: 0 is the subject itself, n its n-th ancestor (Effective::ancestors[n - 1]).
  std::uint32_t payer = 0;
};

// Everything that policies say about one subject. Copyable; keeps the policies alive.
struct Effective {
  std::shared_ptr<const CompiledPolicies> policies;
  std::vector<std::uint32_t> matched;  // indexes of the policies whose match covers the subject
  struct Inherited {
    std::uint32_t policy = 0;
    std::uint32_t ancestor = 0;  // index into `ancestors`
  };
  std::vector<Inherited> inherited;  // policies that only cover an ancestor
  model::Subject subject;
  std::vector<model::Subject> ancestors;
  std::vector<BudgetUse> budgets;
  model::Mode mode = model::Mode::kObserve;  // the strictest of the matched
  OnFailure on_failure = OnFailure::kHoldLast;
  std::uint64_t deadline_ns = 0;
  Lease lease;
  bool gated = false;        // requests must wait for a verdict: some policy may refuse one
  bool deny_opaque = false;  // traffic with no plaintext is refused
};

// The first policy that acts on this subject and is about it in particular: its match says more than "everyone".
// `beyond_user`: a match by user alone does not count. Empty: none. Valid as long as the policies.
std::string_view singled_out_by(const Effective& effective, bool beyond_user);

// For the kernel's scope map.
struct ScopeSettings {
  bool gated = false;
  bool deny_opaque = false;
  model::Mode mode = model::Mode::kObserve;
  OnFailure on_failure = OnFailure::kHoldLast;
  std::uint64_t deadline_ns = 0;
  std::uint64_t lease_requests = 0;
  std::uint64_t lease_bytes = 0;
};
ScopeSettings scope_settings(const Effective& effective);

// Fails (kUsage) with the first thing that check() would report.
base::Result<std::shared_ptr<const CompiledPolicies>> compile(const api::PolicySet& set, const Defaults& defaults = {},
                                                              const Support& support = {});

// `ancestors`: the agents on whose behalf the subject acts, nearest first; their budgets and denies are inherited as
// their policies' `delegation.inherit` says (both, when silent).
Effective effective(const std::shared_ptr<const CompiledPolicies>& policies, const model::Subject& subject,
                    std::span<const model::Subject> ancestors = {});

// Every budget of a set, in the order of their numbers. Valid as long as `policies`.
std::span<const BudgetSpec> budgets(const CompiledPolicies& policies);

// The budgets that cover this request, each (budget, payer) once. Plain HTTP is covered by none; tool and agent calls
// only by limits in requests. `out` is cleared first: keep it between calls to save the allocation.
void charges_for(const Effective& effective, const model::Exchange& exchange, std::vector<BudgetUse>& out);

// An order to kill, in force.
struct KillSwitch {
  std::uint64_t id = 0;
  api::Selector selector;
  std::string reason;
};

// A human's answer to a request that asked for approval.
struct Approval {
  std::string rule;  // "<policy>/<rule>", as Decision::approvals names it
  bool approved = false;
};

// What the call graph saw, for one policy with `loops:`.
struct LoopOutcome {
  std::string policy;
  std::uint32_t same_calls = 0;  // this call included, within the policy's time
  std::uint32_t cycles = 0;      // repetitions of the sequence that ends with this call
};

struct Context {
  std::span<const KillSwitch> kills;
  std::span<const Approval> approvals;
  std::span<const LoopOutcome> loops;
  bool opaque = false;                            // bytes to an AI endpoint whose plaintext was not seen
  std::optional<std::uint32_t> delegation_depth;  // agents between the origin and the caller
};

// One thing that a policy objects to.
struct Finding {
  model::Action action = model::Action::kAllow;
  std::string policy;
  std::string rule;
  std::string reason;  // closed set of model/verdict.h
  std::string text;    // one line for people
  // hold, pace: how long; then `then` (allow or deny) happens.
  std::uint64_t wait_ns = 0;
  model::Action then = model::Action::kDeny;
};

struct Decision {
  model::Verdict verdict;          // gate_ns is the gate's to fill
  std::optional<Finding> finding;  // what decided, unless the verdict is a plain allow
  std::optional<Finding> would;    // what observed policies would have done, where that is stricter than the verdict
  std::vector<std::string> approvals;  // "<policy>/<rule>" that still wait for an answer
};

// A verdict of allow with breaches in `ledger` (observed budgets, unpriced calls let through) means: reserve by force.
Decision decide(const model::Exchange& exchange, const Effective& effective, const LedgerOutcome& ledger,
                const Context& context = {});

// While the answer streams: `ledger` tells the budgets it outgrew. Cut (reason "budget") when an enforced budget says
// so; kill when it was killed; else allow.
Decision decide_stream(const model::Exchange& exchange, const Effective& effective, const LedgerOutcome& ledger,
                       const Context& context = {});

// ---- a policy made in code
// -------------------------------------------------------------------------------------------

struct RunLimits {
  std::optional<model::NanoUsd> max_usd;
  std::optional<std::uint64_t> max_tokens;
  std::optional<std::uint64_t> max_requests;
  std::optional<model::Mode> mode;  // enforce when not given
};
// `penstock run --max-usd … --max-tokens … --mode …`: one policy, named after the run, that covers exactly this run.
api::Policy run_policy(std::string_view run_id, const RunLimits& limits);

}  // namespace penstock::policy
