// The verdict on one request, and the money behind it.
#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "userspace/graph/call_graph.h"
#include "userspace/model/names.h"
#include "userspace/pipeline/pipeline.h"
#include "userspace/policy/match.h"

namespace penstock::pipeline {
namespace {

// More than comes between two looks at the rings, from the fastest of models.
constexpr std::uint64_t kNearLimitTokens = 512;

std::string text_of(const policy::Decision& decision) {
  return decision.finding ? decision.finding->text : std::string();
}

}  // namespace

std::vector<std::uint8_t> Pipeline::endpoint_key(const pn_endpoint_key& endpoint) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&endpoint);
  return {bytes, bytes + sizeof endpoint};
}

policy::Effective Pipeline::effective_now(const model::Subject& subject) {
  return policy::effective(policies_, subject, parts_.subjects.ancestors(subject));
}

policy::Context Pipeline::context_for(const policy::Effective& effective) const {
  policy::Context context;
  context.kills = parts_.kills.active();
  if (effective.subject.process.pid != 0)
    context.delegation_depth = graph::delegation_depth(effective.subject, effective.ancestors);
  return context;
}

std::shared_ptr<const policy::Effective> Pipeline::effective_for(const model::Subject& subject) {
  const auto it = effective_cache_.find(subject.process);
  if (it != effective_cache_.end()) return it->second;
  auto made = std::make_shared<const policy::Effective>(effective_now(subject));
  if (effective_cache_.size() >= options_.max_cached_subjects) effective_cache_.clear();
  effective_cache_.emplace(subject.process, made);
  return made;
}

void Pipeline::report(const model::Exchange& exchange, const model::Verdict& verdict, bool would,
                      std::string_view text) {
  ++(would ? stats_.would : stats_.verdicts)[std::string(model::name(verdict.action))];
  for (Observer* observer : parts_.observers) observer->on_verdict(exchange, verdict, would, text);
}

void Pipeline::note_crossings(const ledger::Outcome& outcome) {
  for (const ledger::SoftCrossing& crossing : outcome.crossings) {
    for (Observer* observer : parts_.observers) observer->on_soft_crossing(crossing);
  }
}

policy::LedgerOutcome Pipeline::for_policy(const ledger::Outcome& outcome, const ledger::Amounts& amounts) {
  policy::LedgerOutcome out;
  out.priced = amounts.cost.has_value();
  for (const ledger::Breach& breach : outcome.breaches) {
    policy::BudgetBreach& to = out.breaches.emplace_back();
    to.budget = breach.budget;
    to.key = breach.key;
    switch (breach.reason) {
      case ledger::BreachReason::kLimit:
        to.cause = policy::BudgetBreach::Cause::kLimit;
        break;
      case ledger::BreachReason::kUnpriced:
        to.cause = policy::BudgetBreach::Cause::kUnpriced;
        break;
      case ledger::BreachReason::kCapacity:
      case ledger::BreachReason::kStore:
        to.cause = policy::BudgetBreach::Cause::kUnavailable;
        break;
    }
    to.limit = breach.limit;
    to.remaining = breach.remaining;
    to.needed = breach.needed;
    to.retry_after_ns = breach.retry_after_ns;
  }
  return out;
}

// Only what a budget covers needs it, and what is charged without a report.
const ledger::Amounts& Pipeline::upper_of(Pending& pending) {
  if (!pending.upper)
    pending.upper =
        parts_.estimator.reserve_amounts(*pending.exchange, pending.effective->mode == model::Mode::kStrict);
  return *pending.upper;
}

// Tokens; at the first look at its answer, and the same at every other.
std::uint64_t Pipeline::expected_input(Pending& pending) {
  if (!pending.expected_input) pending.expected_input = parts_.estimator.expected_input(*pending.exchange);
  return *pending.expected_input;
}

// An answer that may be cut has taken so much of its reservation that the next pieces may pass it.
bool Pipeline::near_limit(Pending& pending, std::uint64_t tokens) {
  return pending.hard && pending.exchange->stream && tokens + kNearLimitTokens >= upper_of(pending).tokens;
}

void Pipeline::reserve(Pending& pending, ledger::Outcome& outcome, bool force) {
  const model::Exchange& exchange = *pending.exchange;
  const std::span<const policy::BudgetSpec> specs = policy::budgets(*pending.effective->policies);
  keys_.clear();
  keys_.reserve(pending.uses.size());
  for (const policy::BudgetUse& use : pending.uses) {
    if (use.payer == 0) {
      keys_.push_back(ledger::key_of(specs[use.budget].per, exchange));
    } else {
      model::Exchange on_behalf = exchange;
      on_behalf.subject = pending.effective->ancestors[use.payer - 1];
      keys_.push_back(ledger::key_of(specs[use.budget].per, on_behalf));
    }
  }
  charges_.clear();
  for (std::size_t i = 0; i < keys_.size(); ++i) charges_.push_back({pending.uses[i].budget, keys_[i]});
  const ledger::Amounts& upper = upper_of(pending);
  if (upper.cost && *upper.cost > dearest_call_) dearest_call_ = *upper.cost;
  outcome = parts_.ledger.reserve(exchange.id, charges_, upper, ledger_now(), force);
  pending.reserved = outcome.admitted;
  note_crossings(outcome);
}

// It leaves, or has left: it is charged beyond any limit.
void Pipeline::reserve_anyway(Pending& pending) {
  ledger::Outcome outcome;
  if (!pending.uses.empty() && !pending.reserved) reserve(pending, outcome, true);
}

void Pipeline::note_span(Span what, std::uint64_t ns, std::string_view provider) {
  for (Observer* observer : parts_.observers) observer->on_span(what, ns, provider);
}

void Pipeline::judge(Connection& connection, Pending& pending) {
  if (!policy::is_ai(*pending.exchange)) {
    pending.stage = Stage::kAdmitted;
    if (connection.holding()) ++stats_.passed_plain;
    return;
  }
  if (!connection.holding()) return give_verdict(connection, pending);
  const std::uint64_t began = now_ns();
  give_verdict(connection, pending);
  note_span(Span::kDecide, now_ns() - began);
}

// What a call tells of where it goes and of who makes it, whatever becomes of it.
void Pipeline::note_call(Connection& connection, Pending& pending) {
  const model::Exchange& exchange = *pending.exchange;
  connection.set_ai();
  connection.remember_target(exchange);
  if (!exchange.host.empty() && ai_hosts_.size() < options_.max_known_hosts) ai_hosts_.insert(exchange.host);
  if (connection.new_endpoint()) learn_endpoint(gate::remote_of(connection.info().socket));
  coverage_.on_ai(connection.info(), exchange.provider, exchange.host);
  if (pending.effective->policies != policies_) pending.effective = effective_for(exchange.subject);
}

// Reserves in the budgets that cover the call, and asks the policies. `force`: it goes, or has gone, whatever the
// limits say.
policy::Decision Pipeline::decide(Pending& pending, bool force) {
  const model::Exchange& exchange = *pending.exchange;
  const policy::Effective& effective = *pending.effective;
  policy::charges_for(effective, exchange, pending.uses);
  pending.upper.reset();  // more may be known of it than when it was judged before
  ledger::Outcome outcome;
  if (!pending.uses.empty()) reserve(pending, outcome, force);

  std::vector<policy::Approval> approvals;
  for (const std::string& rule : pending.approvals) approvals.push_back({rule, pending.released});
  policy::LedgerOutcome for_decision;
  if (!pending.uses.empty() && !force) for_decision = for_policy(outcome, upper_of(pending));
  policy::Context context = context_for(effective);
  context.approvals = approvals;
  policy::Decision decision = policy::decide(exchange, effective, for_decision, context);
  if (decision.would && pending.held_order == 0) {
    const model::Verdict would{decision.would->action, model::Mode::kObserve,  decision.would->policy,
                               decision.would->rule,   decision.would->reason, 0};
    report(exchange, would, true, decision.would->text);
  }
  return decision;
}

void Pipeline::give_verdict(Connection& connection, Pending& pending) {
  note_call(connection, pending);
  if (connection.kernel_refused()) {
    const model::Verdict verdict{model::Action::kDeny, pending.effective->mode, {}, {}, "daemon_late", 0};
    connection.refuse(pending, verdict, "the daemon was away when it was sent");
    return;
  }
  // Already gone on the kernel's lease: it is counted whatever the limits say.
  const bool leased = pending.complete && connection.leased(pending.end_pos);
  policy::Decision decision = decide(pending, pending.released || leased);
  const model::Action action = decision.verdict.action;
  if (action == model::Action::kAllow || leased) return admit_anyway(connection, pending, decision.verdict);
  if (pending.reserved) {
    // Refused or waiting: it consumes nothing, however often it comes back.
    parts_.ledger.cancel(pending.exchange->id, ledger_now());
    pending.reserved = false;
  }
  // The write was not held by the kernel (its process was not in a gated scope yet): the request has left, or is
  // leaving.
  const bool left =
      !connection.holding() || pending.plain_early || (pending.complete && pending.end_pos > connection.known_end());
  if (left && action == model::Action::kPace) return admit_anyway(connection, pending, decision.verdict);
  if (left && action != model::Action::kKill) {
    decision.verdict.action = model::Action::kCut;
    reserve_anyway(pending);
    pending.cut = true;
  } else if (action == model::Action::kHold || action == model::Action::kPace) {
    return hold(connection, pending, decision);
  }
  connection.refuse(pending, decision.verdict, text_of(decision));
}

void Pipeline::judge_again_complete(Connection& connection, Pending& pending) {
  model::Exchange& exchange = *pending.exchange;
  if (!policy::is_ai(exchange) || pending.stage != Stage::kAdmitted) return;
  connection.remember_target(exchange);
  const policy::Effective& effective = *pending.effective;
  const ledger::Amounts upper = parts_.estimator.reserve_amounts(exchange, effective.mode == model::Mode::kStrict);
  ledger::Outcome outcome;
  if (pending.reserved) {
    outcome = parts_.ledger.progress(exchange.id, upper, ledger_now());
    note_crossings(outcome);
    pending.upper = upper;
  }
  const policy::Context context = context_for(effective);
  policy::LedgerOutcome for_decision = for_policy(outcome, upper);
  if (pending.released) for_decision.breaches.clear();
  policy::Decision decision = policy::decide(exchange, effective, for_decision, context);
  const model::Action action = decision.verdict.action;
  if (action == model::Action::kAllow || action == model::Action::kPace || pending.released) return;
  if (action == model::Action::kHold && connection.holding()) {
    // Its end has not left: without it the server does not begin. Waiting consumes nothing.
    if (pending.reserved) parts_.ledger.cancel(exchange.id, ledger_now());
    pending.reserved = false;
    hold(connection, pending, decision);
    return;
  }
  // What it began with was let go; what came later must not have been.
  if (action != model::Action::kKill) decision.verdict.action = model::Action::kCut;
  pending.cut = true;
  connection.refuse(pending, decision.verdict, text_of(decision));
}

void Pipeline::hold(Connection& connection, Pending& pending, const policy::Decision& decision) {
  const std::uint64_t now = now_ns();
  const bool first = pending.held_order == 0;
  pending.stage = Stage::kHeld;
  pending.held_verdict = decision.verdict;
  upper_of(pending);  // whoever is asked about it wants to know
  pending.approvals = decision.approvals;
  const std::uint64_t wait = decision.finding ? decision.finding->wait_ns : 0;
  if (first) {
    pending.held_since_ns = now;
    pending.held_order = next_held_order_++;
    held_.emplace(pending.held_order, std::pair(&connection, &pending));
    report(*pending.exchange, decision.verdict, false, text_of(decision));
  }
  pending.held_text = text_of(decision);
  pending.then = decision.finding ? decision.finding->then : model::Action::kDeny;
  if (decision.verdict.action == model::Action::kPace) {
    pending.retry_at_ns = now + std::max<std::uint64_t>(wait, 1'000'000);
    pending.give_up_at_ns = pending.held_since_ns + options_.max_pace_ns;
    pending.then = model::Action::kDeny;
  } else {
    pending.retry_at_ns = 0;
    pending.give_up_at_ns = pending.held_since_ns + wait;
  }
}

void Pipeline::admit_anyway(Connection& connection, Pending& pending, const model::Verdict& verdict) {
  reserve_anyway(pending);
  admit(connection, pending, verdict);
}

void Pipeline::admit(Connection& connection, Pending& pending, model::Verdict verdict) {
  const std::uint64_t now = now_ns();
  const std::uint64_t gate_ns = connection.gate_ns(now);
  if (pending.held_order != 0) {
    // It was held, then let go: that is what happened to it.
    verdict.action = pending.held_verdict.action;
    verdict.policy = pending.held_verdict.policy;
    verdict.rule = pending.held_verdict.rule;
    verdict.reason = pending.held_verdict.reason;
  }
  const bool was_held = pending.held_order != 0;
  pending.stage = Stage::kAdmitted;
  unhold(pending, now);
  pending.retry_at_ns = 0;
  pending.give_up_at_ns = 0;
  const std::span<const policy::BudgetSpec> specs = policy::budgets(*pending.effective->policies);
  pending.hard = std::any_of(pending.uses.begin(), pending.uses.end(), [&](const policy::BudgetUse& use) {
    return specs[use.budget].mode != model::Mode::kObserve && specs[use.budget].cut_streams;
  });
  pending.urgent = pending.hard && pending.exchange->stream && near_limit(pending, expected_input(pending));
  pending.exchange->verdict = verdict;
  pending.exchange->verdict.gate_ns = gate_ns;
  if (!was_held) report(*pending.exchange, pending.exchange->verdict, false, {});
}

// ---- the end -------------------------------------------------------------------------------------------------------

void Pipeline::settle(Pending& pending, bool repeat) {
  model::Exchange& exchange = *pending.exchange;
  if (pending.stage == Stage::kOpen && exchange.status != 0) {
    // Its request was lost to us, or older than us. The answer proves that it was sent: it is charged like any other.
    pending.stage = Stage::kAdmitted;
    policy::charges_for(*pending.effective, exchange, pending.uses);
    pending.upper = parts_.estimator.reserve_amounts(exchange, false);
    reserve_anyway(pending);
  }
  const bool left = pending.stage == Stage::kAdmitted || pending.cut;
  if (!left) {
    // Never sent: it cost nothing, and nothing is known of an answer.
    if (pending.reserved) parts_.ledger.cancel(exchange.id, ledger_now());
    pending.reserved = false;
    exchange.usage_status = model::UsageStatus::kUnknown;
    return;
  }
  if (!pending.cut && settle_deferred(pending, repeat)) return;
  const ledger::Settlement settlement = parts_.estimator.settlement(exchange);
  const bool exact = settlement.status == ledger::SettleStatus::kExact && !settlement.upper;
  const bool stands = settlement.upper || (pending.cut && !exact);
  ledger::Amounts charged = settlement.amounts;
  if (stands) {
    // Some providers bill the whole answer of a cut call: the reservation, or what was seen where that is more.
    const ledger::Amounts so_far = parts_.estimator.progress_amounts(exchange);
    const ledger::Amounts& upper = upper_of(pending);
    charged.tokens = std::max(upper.tokens, so_far.tokens);
    charged.cost = upper.cost;
    if (so_far.cost && (!charged.cost || *so_far.cost > *charged.cost)) charged.cost = so_far.cost;
  }
  if (pending.reserved) {
    const ledger::Outcome outcome =
        stands ? parts_.ledger.settle_estimated(exchange.id, ledger_now())
               : parts_.ledger.settle(exchange.id, settlement.amounts, settlement.status, ledger_now());
    note_crossings(outcome);
    pending.reserved = false;
  }
  complete_usage(pending, settlement, charged, stands);
  if (exact && !pending.cut) parts_.estimator.learn(exchange);
}

// Calls that ask for an answer which comes later, and those that only look at one: the usage is charged once, to the
// call that asked, when it shows up; looking costs nothing.
bool Pipeline::settle_deferred(Pending& pending, bool repeat) {
  model::Exchange& exchange = *pending.exchange;
  const bool reported = exchange.usage.input_tokens.has_value() || exchange.usage.output_tokens.has_value();
  const bool looks = exchange.method == "GET";
  const std::string_view state =
      exchange.finish_reason ? std::string_view(*exchange.finish_reason) : std::string_view();
  const bool unfinished = state == "queued" || state == "in_progress" || state == "requires_action";
  if (!looks && !reported && unfinished && !exchange.response_id.empty() && pending.reserved &&
      promised_.size() < options_.max_promised) {
    note_crossings(parts_.ledger.settle_estimated(exchange.id, ledger_now()));
    pending.reserved = false;
    promised_.insert_or_assign(exchange.response_id, exchange.id);
    return true;
  }
  if (!looks && !repeat) return false;
  ledger::Amounts charged{model::NanoUsd{0}, 0, 1};
  if (const auto asked = promised_.find(exchange.response_id); reported && asked != promised_.end()) {
    const ledger::Settlement late = parts_.estimator.settlement(exchange);
    const ledger::Outcome outcome = parts_.ledger.settle(asked->second, late.amounts, late.status, ledger_now());
    note_crossings(outcome);
    promised_.erase(asked);
    // What is charged to the call that asked is no longer to be charged to this one; else it was forgotten.
    if (!outcome.known) charged = late.amounts;
    exchange.cost = late.amounts.cost;
  } else if (reported) {
    return false;  // the call that asked was not seen
  } else {
    exchange.cost = charged.cost;
  }
  exchange.price_status = exchange.cost ? model::PriceStatus::kExact : model::PriceStatus::kUnpriced;
  if (pending.reserved)
    note_crossings(parts_.ledger.settle(exchange.id, charged, ledger::SettleStatus::kExact, ledger_now()));
  pending.reserved = false;
  return true;
}

void Pipeline::complete_usage(Pending& pending, const ledger::Settlement& settlement, const ledger::Amounts& charged,
                              bool stands) {
  model::Exchange& exchange = *pending.exchange;
  const bool reported = exchange.usage.input_tokens.has_value() || exchange.usage.output_tokens.has_value();
  if (stands) {
    exchange.cost = charged.cost;
    exchange.price_status = charged.cost ? model::PriceStatus::kEstimated : model::PriceStatus::kUnpriced;
    if (pending.cut) {
      // What is charged stands in for what a provider would have said: an upper estimate, not the lower bound that was
      // seen.
      exchange.usage_status = model::UsageStatus::kUnknown;
      exchange.usage = {};
    }
    if (pending.cut || !reported) fill_estimate(exchange, charged.tokens);
    return;
  }
  if (reported) {
    const ledger::Cost cost = settlement.cost ? *settlement.cost : parts_.prices.cost(exchange);
    exchange.cost = cost.amount;
    exchange.price_status = cost.status;
    return;
  }
  if (settlement.status == ledger::SettleStatus::kExact) {
    // An error answer without usage: the provider charges nothing for it, and there are no tokens to tell.
    exchange.cost = charged.cost;
    if (charged.cost) exchange.price_status = model::PriceStatus::kExact;
    return;
  }
  fill_estimate(exchange, charged.tokens);
  exchange.cost = charged.cost;
  exchange.price_status = charged.cost ? model::PriceStatus::kEstimated : model::PriceStatus::kUnpriced;
}

// The provider reported nothing: say what was computed, and that it was.
void Pipeline::fill_estimate(model::Exchange& exchange, std::uint64_t tokens) {
  if (exchange.kind != model::Kind::kLlm || tokens == 0) return;
  const std::uint64_t input = std::min(parts_.estimator.expected_usage(exchange).input_tokens.value_or(0), tokens);
  exchange.usage.input_tokens = input;
  exchange.usage.output_tokens = tokens - input;
  if (exchange.usage_status != model::UsageStatus::kIncomplete) exchange.usage_status = model::UsageStatus::kEstimated;
}

// ---- what is not a request -----------------------------------------------------------------------------------------

void Pipeline::learn_endpoint(const pn_endpoint_key& endpoint) {
  if (endpoint.family == 0) return;
  std::vector<std::uint8_t> key = endpoint_key(endpoint);
  if (ai_endpoints_.contains(key)) return;
  if (ai_endpoints_.size() >= PN_MAX_ENDPOINTS) {
    ++stats_.endpoints_refused;
    return;
  }
  plain_endpoints_.erase(key);
  if (!parts_.gate.add_endpoint(endpoint)) {
    ++stats_.gate_errors;
    return;
  }
  ai_endpoints_.insert(std::move(key));
  ++stats_.endpoints_learnt;
}

void Pipeline::set_endpoints(std::shared_ptr<const std::map<std::string, std::string>> names,
                             const std::map<std::string, std::string>& addresses,
                             const std::vector<pn_endpoint_key>& keys) {
  endpoint_names_ = std::move(names);
  endpoint_addresses_ = addresses;
  for (const pn_endpoint_key& key : keys) learn_endpoint(key);
}

void Pipeline::judge_opaque(Connection& connection, Unread why) {
  model::Exchange unread = unread_exchange(connection);
  const std::shared_ptr<const policy::Effective> effective = effective_for(unread.subject);
  policy::Context context = context_for(*effective);
  context.opaque = true;
  const policy::Decision decision = policy::decide(unread, *effective, {}, context);
  const model::Action action = decision.verdict.action;
  // Where only plain requests were ever seen, there is no AI endpoint; anywhere else a strict scope fails closed.
  const bool plain_endpoint = plain_endpoints_.contains(endpoint_key(gate::remote_of(connection.info().socket)));
  // `enforce` refuses what goes to an AI endpoint; what may go anywhere is of its concern no more than plain requests.
  const bool elsewhere = plain_endpoint || (effective->mode != model::Mode::kStrict && !goes_to_ai(connection));
  const bool killed = action == model::Action::kKill;
  const bool refused =
      killed ? goes_to_ai(connection) || effective->deny_opaque : action != model::Action::kAllow && !elsewhere;
  if (refused) {
    refuse_unread(connection, unread, decision.verdict, text_of(decision));
    return;
  }
  ++(why == Unread::kCiphertext ? stats_.passed_opaque : stats_.passed_not_http);
  if (why != Unread::kNoRequest) connection.pass_for_good();
}

bool Pipeline::goes_to_ai(const Connection& connection) {
  const gate::SocketRef& socket = connection.info().socket;
  return connection.ai() || coverage_.is_ai(socket.cookie) ||
         ai_provider(socket, coverage_.server_name(socket.cookie)).has_value();
}

void Pipeline::refuse_unreadable(Connection& connection) {
  model::Exchange unread = unread_exchange(connection);
  const model::Verdict verdict{model::Action::kDeny, effective_for(unread.subject)->mode, {}, {}, "opaque", 0};
  refuse_unread(connection, unread, verdict, "its plaintext was lost, or read by a daemon that is gone");
}

model::Exchange Pipeline::unread_exchange(const Connection& connection) {
  model::Exchange unread;
  unread.connection = connection.info().socket.cookie;
  unread.port = connection.info().socket.remote_port;
  unread.subject = parts_.subjects.subject(connection.info().socket.tgid);
  unread.timing.start_real_ns = parts_.clock.real_ns();
  return unread;
}

void Pipeline::refuse_unread(Connection& connection, model::Exchange& unread, const model::Verdict& verdict,
                             std::string_view text) {
  ++stats_.refused_opaque;
  coverage_.on_refused(connection.info());
  unread.verdict = verdict;
  unread.verdict.gate_ns = connection.gate_ns(now_ns());
  report_unread(unread, text);
  connection.destroy(unread.verdict, text);
}

// A connection that was ended before anything of it was read.
void Pipeline::report_unread(model::Exchange& unread, std::string_view text) {
  unread.id = next_exchange_id();
  report(unread, unread.verdict, false, text);
  ++stats_.exchanges;
  for (Observer* observer : parts_.observers) observer->on_exchange(unread);
}

}  // namespace penstock::pipeline
