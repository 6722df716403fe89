// Status, activity, runs, policies: what is told and what is made.
#include "userspace/daemon/control_api.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "userspace/api/selector.h"
#include "userspace/base/log.h"
#include "userspace/daemon/authority.h"
#include "userspace/daemon/version.h"
#include "userspace/model/names.h"

namespace penstock::daemon {
namespace {

const std::string& model_of(const model::Exchange& exchange) {
  return exchange.response_model.empty() ? exchange.request_model : exchange.response_model;
}

}  // namespace

base::Result<> ControlApi::authorize(const api::Peer& peer, std::string_view rpc) {
  if (!is_order(rpc)) return {};
  d_.drain();  // what it was started by, and what that has sent, is in the rings
  Caller caller;
  caller.root = peer.uid == 0;
  if (const auto subject = peer.pid > 0 ? d_.subjects_->now(static_cast<std::uint32_t>(peer.pid)) : std::nullopt) {
    caller.known = true;
    caller.acts_for_agent = d_.subjects_->identity().acts_for_agent(subject->process);
    caller.effective = d_.pipeline_->effective_now(*subject);
  }
  auto allowed = may_order(caller, d_.kills_->list(), rpc);
  if (!allowed) {
    ++orders_refused_;
    base::log_warning("order refused=true rpc={} pid={} uid={} error=\"{}\"", rpc, peer.pid, peer.uid,
                      allowed.error().message());
  }
  return allowed;
}

// ---- what is in flight ---------------------------------------------------------------------------------------------

ControlApi::LiveByName ControlApi::live() const {
  LiveByName out;
  for (pipeline::Connection* connection : d_.pipeline_->connections()) {
    for (const pipeline::Pending& pending : connection->pending()) {
      const model::Exchange& exchange = *pending.exchange;
      if (exchange.kind == model::Kind::kHttp && exchange.provider.empty()) continue;
      const bool held = pending.stage == pipeline::Stage::kHeld;
      for (Live* live : {&out.all, &out.agents[exchange.subject.agent], &out.runs[exchange.subject.run],
                         &out.models[{exchange.provider, model_of(exchange)}]}) {
        ++live->in_flight;
        if (held) ++live->held;
      }
    }
  }
  return out;
}

void ControlApi::add_live(api::Totals& totals, const Live& live) {
  totals.set_in_flight(live.in_flight);
  totals.set_held(live.held);
}

api::Losses ControlApi::losses() const {
  api::Losses out;
  const capture::KernelSnapshot& kernel = d_.pipeline_->kernel();
  const tracker::Counters& tracked = d_.pipeline_->tracker().counters();
  std::uint64_t events = 0, bytes = 0;
  for (const pn_loss_val& kind : kernel.loss) {
    events += kind.lost_ring + kind.lost_fault + kind.lost_rate;
    bytes += kind.lost_ring_bytes + kind.lost_fault_bytes + kind.lost_rate_bytes;
  }
  out.set_events_lost(events);
  out.set_gaps(tracked.gaps[0] + tracked.gaps[1]);
  out.set_lost_bytes(bytes + tracked.overflow_bytes + tracked.unattributed_bytes);
  out.set_parse_errors(d_.pipeline_->stats().malformed);
  std::uint64_t dropped = d_.server_ ? d_.server_->counters().dropped_lines : 0;
  for (const auto& exporter : d_.exporters_) dropped += exporter->dropped();
  out.set_exports_dropped(dropped);
  out.set_incomplete_exchanges(d_.pipeline_->stats().incomplete);
  return out;
}

base::Result<api::Status> ControlApi::get_status(const api::Peer&, const api::GetStatusRequest&) {
  api::Status out;
  out.set_version(kVersion);
  out.set_wire_version(PN_WIRE_VERSION);
  out.set_kernel(kernel_release());
  out.set_pid(static_cast<std::uint32_t>(::getpid()));
  out.set_started_real_ns(d_.started_real_ns_);
  out.set_ready(d_.ready());
  out.set_pending_images(static_cast<std::uint32_t>(d_.probes_->pending()));
  out.set_ephemeral(d_.settings_.ephemeral);
  for (const std::string& line : d_.degraded()) out.add_degraded(line);
  out.set_socket(d_.settings_.config.socket().path());
  if (d_.server_ && d_.server_->tcp_port() != 0) {
    const std::string& listen = d_.settings_.config.listen();
    out.set_metrics_address(fmt::format("{}:{}", listen.substr(0, listen.rfind(':')), d_.server_->tcp_port()));
  }
  out.set_state_dir(d_.settings_.config.state_dir());
  out.set_gate(d_.scopes_->active() > 1 || d_.scopes_->default_gates() ? "enforcing" : "ready");
  out.set_policies(static_cast<std::uint32_t>(d_.policies_->set().policies_size()));
  out.set_agents(static_cast<std::uint32_t>(d_.activity_.agents().size()));
  out.set_runs(static_cast<std::uint32_t>(d_.runs_->running()));
  out.set_kills(static_cast<std::uint32_t>(d_.kills_->list().kills_size()));
  out.set_connections(d_.pipeline_->tracker().connections());
  out.set_attached_images(static_cast<std::uint32_t>(d_.kernel_->attached_images()));
  d_.activity_.total().write(*out.mutable_totals());
  add_live(*out.mutable_totals(), live().all);
  *out.mutable_losses() = losses();
  const std::uint64_t now = d_.clock_.boot_ns();
  if (d_.last_turn_boot_ns_ != 0) out.set_heartbeat_age_ns(now - std::min(now, d_.last_turn_boot_ns_));
  return out;
}

base::Result<api::DoctorReport> ControlApi::get_doctor(const api::Peer&, const api::GetDoctorRequest&) {
  return examine(d_.settings_.config.bpffs_dir(), d_.settings_.config.state_dir());
}

base::Result<base::Unit> ControlApi::observe(const api::Peer&, const api::ObserveRequest& request,
                                             std::shared_ptr<api::LineStream> stream) {
  return d_.streams_.open(request, std::move(stream));
}

// ---- agents and top ------------------------------------------------------------------------------------------------

std::string ControlApi::mode_of(const ActivityRow& row) const {
  return std::string(model::name(d_.pipeline_->effective_for(row.subject)->mode));
}

bool ControlApi::killed(const model::Subject& subject) const { return d_.kills_->stops(subject); }

std::optional<std::uint32_t> ControlApi::budget_used_percent(const model::Subject& subject) const {
  const auto effective = d_.pipeline_->effective_for(subject);
  const std::span<const policy::BudgetSpec> specs = policy::budgets(*effective->policies);
  model::Exchange anything;
  anything.subject = subject;
  std::optional<std::uint32_t> fullest;
  for (const policy::BudgetUse& use : effective->budgets) {
    if (use.payer != 0) continue;
    const auto status =
        d_.ledger_->status(use.budget, ledger::key_of(specs[use.budget].per, anything), d_.ledger_now());
    if (!status || status->limit <= 0) continue;
    const model::Int128 used = model::Int128{status->spent} + status->reserved;
    const auto percent = static_cast<std::uint32_t>(std::min<model::Int128>(used * 100 / status->limit, 100'000));
    fullest = std::max(fullest.value_or(0), percent);
  }
  return fullest;
}

base::Result<api::TopSnapshot> ControlApi::get_top(const api::Peer&, const api::GetTopRequest& request) {
  api::TopSnapshot out;
  const std::uint64_t now = d_.clock_.boot_ns();
  const LiveByName now_live = live();
  const auto minute = [now](api::TopRow& row, const LastMinute& last) {
    const LastMinute::Sum sum = last.sum(now);
    row.set_calls_1m(sum.calls);
    row.set_tokens_1m(sum.tokens);
    row.set_cost_1m_nano_usd(sum.cost_nano_usd);
  };
  const auto add_rows = [&](const std::map<std::string, ActivityRow>& rows, const std::map<std::string, Live>& lives) {
    for (const auto& [name, activity] : rows) {
      api::TopRow& row = *out.add_rows();
      row.set_agent(activity.subject.agent);
      if (request.by() == "run") {
        row.set_run(name);
        if (activity.subject.run_root.pid != 0) row.set_pid(activity.subject.run_root.pid);
      }
      row.set_mode(mode_of(activity));
      activity.sums.write(*row.mutable_totals());
      if (const auto it = lives.find(name); it != lives.end()) add_live(*row.mutable_totals(), it->second);
      minute(row, activity.minute);
      if (const auto percent = budget_used_percent(activity.subject)) row.set_budget_used_percent(*percent);
      if (!activity.last_verdict.empty()) row.set_last_verdict(activity.last_verdict);
      row.set_killed(killed(activity.subject));
    }
  };
  if (request.by().empty() || request.by() == "agent") {
    add_rows(d_.activity_.agents(), now_live.agents);
  } else if (request.by() == "run") {
    add_rows(d_.activity_.runs(), now_live.runs);
  } else if (request.by() == "model") {
    for (const auto& [key, activity] : d_.activity_.models()) {
      api::TopRow& row = *out.add_rows();
      row.set_provider(key.first);
      row.set_model(key.second);
      activity.sums.write(*row.mutable_totals());
      if (const auto it = now_live.models.find(key); it != now_live.models.end())
        add_live(*row.mutable_totals(), it->second);
      minute(row, activity.minute);
    }
  } else {
    return base::Error{base::ErrorCode::kUsage, 0, fmt::format("cannot group by \"{}\"", request.by()),
                       "agent, run or model"};
  }
  auto& rows = *out.mutable_rows();
  std::stable_sort(rows.begin(), rows.end(), [](const api::TopRow& a, const api::TopRow& b) {
    return std::pair(a.cost_1m_nano_usd(), a.totals().cost_nano_usd()) >
           std::pair(b.cost_1m_nano_usd(), b.totals().cost_nano_usd());
  });
  out.set_now_real_ns(d_.clock_.real_ns());
  d_.activity_.total().write(*out.mutable_totals());
  add_live(*out.mutable_totals(), now_live.all);
  *out.mutable_losses() = losses();
  return out;
}

base::Result<api::AgentList> ControlApi::list_agents(const api::Peer&, const api::ListAgentsRequest& request) {
  struct Living {
    std::map<std::string, std::uint32_t> processes;
    std::map<std::string, std::map<std::string, bool>> runs;
  } living;
  d_.subjects_->for_each_process([&](const model::Subject& subject) {
    ++living.processes[subject.agent];
    if (!subject.run.empty()) living.runs[subject.agent][subject.run] = true;
  });
  const LiveByName now_live = live();
  api::AgentList out;
  for (const auto& [name, activity] : d_.activity_.agents()) {
    if (!api::matches(request.selector(), activity.subject)) continue;
    api::AgentInfo& info = *out.add_agents();
    info.set_agent(name);
    for (const auto& [run, alive] : living.runs[name]) {
      if (d_.activity_.run(run) != nullptr) info.add_runs(run);
    }
    info.set_processes(living.processes[name]);
    const model::Subject& subject = activity.subject;
    if (!subject.exe.empty()) info.set_exe(subject.exe);
    if (!subject.user.empty()) info.set_user(subject.user);
    if (!subject.ns.empty()) info.set_namespace_(subject.ns);
    if (!subject.unit.empty()) info.set_unit(subject.unit);
    info.set_mode(mode_of(activity));
    info.set_killed(killed(subject));
    info.set_first_seen_real_ns(activity.first_real_ns);
    info.set_last_seen_real_ns(activity.last_real_ns);
    for (const auto& [key, row] : activity.models) {
      if (!key.second.empty()) info.add_models(key.second);
    }
    activity.sums.write(*info.mutable_totals());
    if (const auto it = now_live.agents.find(name); it != now_live.agents.end())
      add_live(*info.mutable_totals(), it->second);
  }
  return out;
}

// ---- runs ----------------------------------------------------------------------------------------------------------

base::Result<api::CreateRunResponse> ControlApi::create_run(const api::Peer& peer,
                                                            const api::CreateRunRequest& request) {
  bool attached = false;
  if (request.has_executable()) d_.probes_->look_ahead(request.executable());
  PN_TRY(const Run* run, d_.runs_->create(peer, request, attached));
  api::CreateRunResponse out;
  out.set_run(run->id);
  out.set_agent(run->agent);
  out.set_cgroup(d_.cgroups_->directory(run->cgroup));
  out.set_mode(run->mode);
  out.set_attached(attached);
  return out;
}

api::RunSummary ControlApi::summary(const Run& run) const {
  api::RunSummary out;
  out.set_run(run.id);
  out.set_agent(run.agent);
  out.set_state(run.ended_real_ns == 0 ? "running" : "finished");
  out.set_mode(run.mode);
  out.set_started_real_ns(run.started_real_ns);
  if (run.ended_real_ns != 0) out.set_ended_real_ns(run.ended_real_ns);
  if (run.exit_code) out.set_exit_code(*run.exit_code);
  Sums sums;
  if (const ActivityRow* activity = d_.activity_.run(run.id)) {
    sums = activity->sums;
    for (const auto& [key, row] : activity->models) {
      api::ModelTotals& model = *out.add_models();
      if (!key.first.empty()) model.set_provider(key.first);
      if (!key.second.empty()) model.set_model(key.second);
      if (row.price_status) model.set_price_status(std::string(model::name(*row.price_status)));
      row.sums.write(*model.mutable_totals());
    }
    for (const auto& [action, count] : activity->verdicts) (*out.mutable_verdicts())[action] = count;
    if (!activity->last_refusal.empty()) out.set_last_refusal(activity->last_refusal);
  }
  // Calls under way: what they have taken so far, by estimate.
  Live now_live;
  for (pipeline::Connection* connection : d_.pipeline_->connections()) {
    for (const pipeline::Pending& pending : connection->pending()) {
      const model::Exchange& exchange = *pending.exchange;
      if (exchange.subject.run != run.id || (exchange.kind == model::Kind::kHttp && exchange.provider.empty()))
        continue;
      ++now_live.in_flight;
      if (pending.stage == pipeline::Stage::kHeld) ++now_live.held;
      if (pending.stage != pipeline::Stage::kAdmitted) continue;
      const ledger::Amounts so_far = d_.estimator_->progress_amounts(exchange);
      ++sums.estimated;
      if (so_far.cost) sums.cost_nano_usd = (model::NanoUsd{sums.cost_nano_usd.value_or(0)} + *so_far.cost).value;
      const std::uint64_t input = std::min(d_.estimator_->tokens(exchange, false).input_tokens, so_far.tokens);
      sums.input = sums.input.value_or(0) + input;
      sums.output = sums.output.value_or(0) + (so_far.tokens - input);
    }
  }
  sums.write(*out.mutable_totals());
  add_live(*out.mutable_totals(), now_live);
  for (const ledger::BudgetStatus& status : d_.ledger_->list(d_.ledger_now())) {
    if (status.policy == policy::run_policy(run.id, {}).name() ||
        status.key.find("run=" + run.id) != std::string::npos) {
      *out.add_budgets() = state_of(status);
    }
  }
  for (api::CoverageRow& row : coverage_of([&](const model::Subject& subject) { return subject.run == run.id; }))
    *out.add_coverage() = std::move(row);
  *out.mutable_losses() = losses();
  return out;
}

base::Result<api::RunSummary> ControlApi::get_run(const api::Peer&, const api::GetRunRequest& request) {
  const Run* run = d_.runs_->find(request.run());
  if (run == nullptr)
    return base::Error{base::ErrorCode::kNotFound, 0, "no run " + request.run(), "penstock agents shows the runs"};
  return summary(*run);
}

base::Result<api::RunSummary> ControlApi::finish_run(const api::Peer&, const api::FinishRunRequest& request) {
  const Run* run = d_.runs_->find(request.run());
  if (run == nullptr)
    return base::Error{base::ErrorCode::kNotFound, 0, "no run " + request.run(), "penstock agents shows the runs"};
  // The last answers may still be on their way from the kernel, and its budgets end with the run: look first.
  d_.drain();
  api::RunSummary out = summary(*run);
  std::optional<std::int32_t> code;
  if (request.has_exit_code()) code = request.exit_code();
  PN_TRY(const Run* finished, d_.runs_->finish(request.run(), code));
  out.set_state("finished");
  out.set_ended_real_ns(finished->ended_real_ns);
  if (finished->exit_code) out.set_exit_code(*finished->exit_code);
  return out;
}

// ---- policies ------------------------------------------------------------------------------------------------------

base::Result<api::PolicyReport> ControlApi::check_policy(const api::Peer&, const api::CheckPolicyRequest& request) {
  return d_.policies_->check(request.source(), request.file().empty() ? "policy" : request.file());
}

base::Result<api::PolicyReport> ControlApi::apply_policy(const api::Peer&, const api::ApplyPolicyRequest& request) {
  return d_.policies_->apply(request.source(), request.file().empty() ? "policy" : request.file(), d_.clock_.real_ns());
}

base::Result<api::PolicyList> ControlApi::list_policies(const api::Peer&, const api::ListPoliciesRequest&) {
  std::map<std::string, std::uint32_t> subjects;
  for (const auto& [name, activity] : d_.activity_.agents()) {
    const auto effective = d_.pipeline_->effective_for(activity.subject);
    for (const std::uint32_t index : effective->matched) {
      if (index < static_cast<std::uint32_t>(d_.policies_->set().policies_size()))
        ++subjects[d_.policies_->set().policies(static_cast<int>(index)).name()];
    }
  }
  api::PolicyList out;
  for (const api::Policy& policy : d_.policies_->set().policies()) {
    api::PolicyInfo info = d_.policies_->describe(policy, "");
    info.set_subjects(subjects[policy.name()]);
    *out.add_policies() = std::move(info);
  }
  return out;
}

base::Result<api::PolicyList> ControlApi::remove_policy(const api::Peer& peer,
                                                        const api::RemovePolicyRequest& request) {
  PN_CHECK(d_.policies_->remove(request.name()));
  return list_policies(peer, {});
}

}  // namespace penstock::daemon
