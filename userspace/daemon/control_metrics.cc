// The daemon's state as gauges and counters, for /metrics and `penstock status`.
#include <algorithm>

#include "userspace/daemon/control_api.h"
#include "userspace/daemon/version.h"
#include "userspace/model/names.h"

namespace penstock::daemon {
namespace {

constexpr const char* event_name(std::size_t kind) {
  switch (kind) {
#define PN_X(name, number, type) \
  case number:                   \
    return #name;
    PN_EVENTS(PN_X)
#undef PN_X
    default:
      return "other";
  }
}

struct StatName {
  pn_stat stat;
  const char* name;
};
constexpr StatName kKernelStats[] = {
    {PN_STAT_GATE_CLOSED, "gate_closed"},
    {PN_STAT_GATE_BEHIND, "gate_behind"},
    {PN_STAT_GATE_ADMITTED, "gate_admitted"},
    {PN_STAT_GATE_VOID, "gate_void"},
    {PN_STAT_GATE_CONTINUED, "gate_continued"},
    {PN_STAT_SKB_HELD, "segments_held"},
    {PN_STAT_EXPIRED_OPEN, "expired_open"},
    {PN_STAT_EXPIRED_CLOSED, "expired_closed"},
    {PN_STAT_LEASED, "leased"},
    {PN_STAT_CONNECT_REFUSED, "connect_refused"},
    {PN_STAT_UDP_REFUSED, "udp_refused"},
    {PN_STAT_BIND_NESTED, "bind_nested"},
    {PN_STAT_BIND_PRINT, "bind_print"},
    {PN_STAT_BIND_LENGTH, "bind_length"},
    {PN_STAT_BIND_ADJACENT, "bind_adjacent"},
    {PN_STAT_BIND_CLEAR, "bind_clear"},
    {PN_STAT_STDIO_STOPPED, "stdio_stopped"},
    {PN_STAT_BIND_CHANGED, "bind_changed"},
    {PN_STAT_TABLE_FULL_CTX, "table_full_ctx"},
    {PN_STAT_TABLE_FULL_CONN, "table_full_conn"},
    {PN_STAT_TABLE_FULL_GATE, "table_full_gate"},
    {PN_STAT_TASK_STORAGE_FAILED, "task_storage_failed"},
    {PN_STAT_OPAQUE_HELD, "opaque_held"},
    {PN_STAT_TABLE_FULL_CALLS, "table_full_calls"},
    {PN_STAT_RECORDS_UNSENT, "records_unsent"},
    {PN_STAT_IGNORED_CALLS, "ignored_calls"},
};

}  // namespace

exporters::Snapshot ControlApi::snapshot() {
  exporters::Snapshot out;
  out.version = kVersion;
  out.kernel = kernel_release();
  out.wire_version = PN_WIRE_VERSION;
  for (const ledger::BudgetStatus& status : d_.ledger_->list(d_.ledger_now())) {
    exporters::Snapshot::Budget budget;
    budget.policy = status.policy;
    budget.budget = status.name;
    budget.key = status.key;
    const exporters::Snapshot::Meter meter{status.limit, status.spent, status.reserved, status.remaining};
    switch (status.unit) {
      case ledger::BudgetUnit::kNanoUsd:
        budget.nano_usd = meter;
        break;
      case ledger::BudgetUnit::kTokens:
        budget.tokens = meter;
        break;
      case ledger::BudgetUnit::kRequests:
        budget.requests = meter;
        break;
    }
    budget.resets_real_ns = status.reset_real_ns;
    out.budgets.push_back(std::move(budget));
    if (status.breaches > 0) {
      const char* action = status.on_breach == ledger::OnBreach::kHold   ? "hold"
                           : status.on_breach == ledger::OnBreach::kPace ? "pace"
                           : status.on_breach == ledger::OnBreach::kCut  ? "cut"
                                                                         : "deny";
      const auto same = [&](const exporters::Snapshot::Breach& b) {
        return b.policy == status.policy && b.budget == status.name;
      };
      const auto it = std::find_if(out.breaches.begin(), out.breaches.end(), same);
      if (it == out.breaches.end()) {
        out.breaches.push_back({status.policy, status.name, action, status.breaches});
      } else {
        it->count += status.breaches;
      }
    }
  }
  std::map<std::string, std::uint64_t> held;
  for (const pipeline::HeldView& view : d_.pipeline_->held()) ++held[view.pending->held_verdict.reason];
  for (const auto& [reason, count] : held) out.held.push_back({reason, count});

  pipeline::Coverage& coverage = d_.pipeline_->coverage();
  coverage.refresh();
  for (const auto& [key, share] : coverage.shares())
    out.coverage.push_back({key.first, key.second, share.plaintext_bytes, share.opaque_bytes});
  for (const auto& [key, meter] : coverage.opaque()) {
    const auto& [ns, runtime, reason] = key;
    out.opaque.push_back(
        {ns, runtime, reason, meter.bytes, meter.connections, pipeline::tokens_of_opaque(meter.bytes)});
  }

  const capture::KernelSnapshot& kernel = d_.pipeline_->kernel();
  for (std::size_t kind = 0; kind < kernel.loss.size(); ++kind) {
    const pn_loss_val& lost = kernel.loss[kind];
    if (lost.lost_ring > 0) out.events_lost.push_back({"ring", event_name(kind), lost.lost_ring});
    if (lost.lost_fault > 0) out.events_lost.push_back({"fault", event_name(kind), lost.lost_fault});
    if (lost.lost_rate > 0) out.events_lost.push_back({"rate", event_name(kind), lost.lost_rate});
  }
  const tracker::Counters& tracked = d_.pipeline_->tracker().counters();
  if (tracked.late_events > 0) out.events_lost.push_back({"tracker", "late", tracked.late_events});
  if (tracked.evicted_unbound > 0) out.events_lost.push_back({"tracker", "unbound", tracked.evicted_unbound});
  if (tracked.evicted_connections > 0)
    out.events_lost.push_back({"tracker", "connection", tracked.evicted_connections});
  if (const std::uint64_t malformed = d_.pipeline_->stats().malformed; malformed > 0)
    out.events_lost.push_back({"decode", "malformed", malformed});
  out.gaps.push_back({"all", tracked.gaps[0] + tracked.gaps[1]});
  for (const auto& exporter : d_.exporters_) out.queues.push_back({"jsonl", exporter->dropped()});
  out.scopes.push_back({"0", d_.scopes_->default_gates() ? model::Mode::kEnforce : model::Mode::kObserve});
  if (d_.store_) {
    const ledger::Store::Stats store = d_.store_->stats();
    if (store.commit_errors > 0) out.store_errors.push_back({"commit", store.commit_errors});
  }
  if (d_.server_) {
    const api::ServerCounters server = d_.server_->counters();
    out.api_requests = server.requests;
    out.api_refused = {{"peer", server.refused_peers},
                       {"oversized", server.oversized},
                       {"slow", server.slow_clients},
                       {"timeout", server.answer_timeouts}};
    out.queues.push_back({"observe", server.dropped_lines});
  }
  out.connections = d_.pipeline_->tracker().connections();
  out.agents = d_.activity_.agents().size();
  out.runs = d_.runs_->running();
  const std::uint64_t now = d_.clock_.boot_ns();
  if (d_.last_turn_boot_ns_ != 0) out.heartbeat_age_ns = now - std::min(now, d_.last_turn_boot_ns_);
  out.config_reload_ok = d_.reload_ok_;
  return out;
}

base::Result<api::CounterList> ControlApi::list_counters(const api::Peer&, const api::ListCountersRequest&) {
  d_.drain();  // both sides of each sum at the same moment
  api::CounterList out;
  const auto add = [&out](const char* name, std::uint64_t value, const char* label = nullptr,
                          const std::string& of = {}) {
    api::Counter& counter = *out.add_counters();
    counter.set_name(name);
    counter.set_value(value);
    if (label != nullptr) (*counter.mutable_labels())[label] = of;
  };
  const pipeline::Stats& p = d_.pipeline_->stats();
  for (const auto& [action, count] : p.verdicts) add("verdicts", count, "action", action);
  for (const auto& [action, count] : p.would) add("would_verdicts", count, "action", action);
  add("exchanges", p.exchanges);
  add("ai_exchanges", p.ai_exchanges);
  add("incomplete_exchanges", p.incomplete);
  add("estimated_exchanges", p.estimated);
  add("admits", p.admits);
  add("pushes", p.pushes);
  add("pushes_missed", p.pushes_missed);
  add("destroys", p.destroys);
  add("destroys_gone", p.destroys_gone);
  add("gate_errors", p.gate_errors);
  add("send_buffers_grown", p.grown);
  add("judged_early", p.judged_early);
  add("passed_plain", p.passed_plain);
  add("passed_not_http", p.passed_not_http);
  add("passed_opaque", p.passed_opaque);
  add("refused_opaque", p.refused_opaque);
  add("orphans", p.orphans);
  add("orphans_refused", p.orphans_refused);
  add("ignored_connections", p.ignored_connections);
  add("leased", p.leased);
  add("kernel_refused", p.kernel_refused);
  add("malformed_records", p.malformed);
  add("loss_resyncs", p.loss_resyncs);
  add("endpoints_learnt", p.endpoints_learnt);
  add("endpoints_refused", p.endpoints_refused);
  add("killed_by_name", p.killed_by_name);
  add("process_control_errors", p.control_errors);

  const tracker::Counters& t = d_.pipeline_->tracker().counters();
  const std::string direction[2] = {"to_server", "to_client"};
  for (std::size_t i = 0; i < 2; ++i) {
    add("delivered_bytes", t.delivered_bytes[i], "direction", direction[i]);
    add("gap_bytes", t.gap_bytes[i], "direction", direction[i]);
    add("gaps", t.gaps[i], "direction", direction[i]);
  }
  add("duplicate_bytes", t.duplicate_bytes);
  add("withdrawn_bytes", t.withdrawn_bytes);
  add("overflow_bytes", t.overflow_bytes);
  add("unattributed_bytes", t.unattributed_bytes);
  add("late_events", t.late_events);
  add("late_bytes", t.late_bytes);
  add("connections_opened", t.opened);
  add("connections_closed", t.closed);
  add("connections_adopted", t.adopted);
  add("connections_rebound", t.rebound);
  add("connections_reconciled", t.reconciled);
  add("connections_evicted", t.evicted_connections);
  add("streams_evicted", t.evicted_unbound);

  // The kernel's own, read now: what is compared with the above.
  const capture::KernelSnapshot kernel = d_.kernel_->read_counters();
  std::uint64_t sent = 0, lost = 0;
  for (const pn_loss_val& loss : kernel.loss) {
    sent += loss.sent;
    lost += loss.lost_ring + loss.lost_fault + loss.lost_rate;
  }
  add("events_generated", sent + lost);
  add("events_captured", d_.records_);
  add("events_lost", lost);
  add("plaintext_bytes_captured", t.delivered_bytes[0] + t.delivered_bytes[1]);
  add("plaintext_bytes_lost", t.gap_bytes[0] + t.gap_bytes[1] + t.unattributed_bytes);
  for (std::size_t kind = 0; kind < kernel.loss.size(); ++kind) {
    const pn_loss_val& loss = kernel.loss[kind];
    if (loss.sent == 0 && loss.lost_ring == 0 && loss.lost_fault == 0 && loss.lost_rate == 0) continue;
    const std::string name = event_name(kind);
    add("kernel_sent", loss.sent, "kind", name);
    add("kernel_sent_bytes", loss.sent_bytes, "kind", name);
    add("kernel_lost_ring", loss.lost_ring, "kind", name);
    add("kernel_lost_ring_bytes", loss.lost_ring_bytes, "kind", name);
    add("kernel_lost_fault", loss.lost_fault, "kind", name);
    add("kernel_lost_fault_bytes", loss.lost_fault_bytes, "kind", name);
    add("kernel_lost_rate", loss.lost_rate, "kind", name);
    add("kernel_lost_rate_bytes", loss.lost_rate_bytes, "kind", name);
  }
  for (const StatName& stat : kKernelStats) add("kernel_stat", kernel.stats[stat.stat], "stat", stat.name);

  const Probes::Stats probes = d_.probes_->stats();
  add("probes_attached", probes.attached);
  add("probes_detached", probes.detached);
  add("probes_failed", probes.failed);
  add("images_known", probes.discovery.images);
  add("images_with_runtime", probes.discovery.with_plan);
  add("images_analysed", probes.discovery.analysed);
  add("images_unreachable", probes.discovery.unreachable);
  add("images_refused", probes.discovery.refused);
  const ledger::Ledger::Stats ledger = d_.ledger_->stats();
  add("ledger_reserved", ledger.reserved);
  add("ledger_refused", ledger.refused);
  add("ledger_settled", ledger.settled);
  add("ledger_settled_estimated", ledger.settled_estimated);
  add("ledger_corrected", ledger.corrected);
  add("ledger_cancelled", ledger.cancelled);
  add("ledger_undurable", ledger.undurable);
  add("ledger_commits_failed", ledger.commits_failed);
  return out;
}

}  // namespace penstock::daemon
