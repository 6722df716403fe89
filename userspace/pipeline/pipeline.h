// From events to verdicts: every request of every connection is identified, priced, reserved in all budgets that cover
// it, judged, and then admitted, held or refused; its answer is metered while it streams and settled at its end.
//
// Thread: one, the daemon's event loop; nothing here blocks except durable writes of kill orders. Ownership: the daemon
// owns every part and outlives the pipeline. Failure: a part that fails is counted (Stats) and the request stays in its
// socket, where the kernel's deadline ends it; nothing is admitted by an error.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "parsers/core/connection_parser.h"
#include "parsers/session/usage_once.h"
#include "userspace/base/clock.h"
#include "userspace/capture/core/event_source.h"
#include "userspace/capture/core/kernel_counters.h"
#include "userspace/gate/core/gate_control.h"
#include "userspace/ledger/estimate.h"
#include "userspace/ledger/ledger.h"
#include "userspace/ledger/prices.h"
#include "userspace/pipeline/connection.h"
#include "userspace/pipeline/coverage.h"
#include "userspace/pipeline/kill_switches.h"
#include "userspace/pipeline/ports.h"
#include "userspace/pipeline/scopes.h"
#include "userspace/policy/policy.h"
#include "userspace/tracker/tracker.h"

namespace penstock::pipeline {

struct Options {
  // The same for HTTP/2, where a body larger than the server's window (RFC 9113 §5.2) cannot end while it is held.
  std::uint64_t incomplete_h2_ns = 100'000'000;
  std::uint64_t window_bytes = 32 * 1024;       // a held HTTP/2 body of so many bytes may be waiting for the window
  std::uint64_t incomplete_ns = 2'000'000'000;  // no new bytes of a held request for so long: decide on what is known
  // An AI request whose body does not tell its model yet waits longer, unless its writer is blocked on a full send
  // buffer: what nobody has read should not leave.
  std::uint64_t unread_ns = 30'000'000'000;
  std::uint32_t grow_bytes = std::uint32_t{8} << 20;  // send buffer of a held socket whose request is not complete
  std::uint64_t grow_after_bytes = std::uint64_t{32} << 10;
  std::uint64_t grow_after_ns = 2'000'000;
  // Seen of a request that looks like no AI call: what it is may show in its body, but beyond this it is let through as
  // it comes (and judged again when it turns out to be one after all).
  std::uint64_t plain_body_bytes = std::uint64_t{8} << 20;
  std::uint32_t ignore_after_requests = 16;       // observe: non-AI requests on one TLS connection before copying stops
  std::uint64_t plain_answer_bytes = 64 * 1024;   // observe: cleartext answer to one that is copied
  std::uint64_t orphan_grace_ns = 1'000'000'000;  // a held request whose plaintext is gone is refused after so long
  std::uint64_t loss_check_ns = 250'000'000;
  std::uint64_t lease_refill_ns = 1'000'000'000;
  std::uint64_t coverage_ns = 500'000'000;  // how often traffic to AI endpoints is held against what was seen of it
  std::uint64_t destroy_retry_ns = 50'000'000;
  std::uint32_t destroy_retries = 40;
  std::uint64_t max_pace_ns = 600'000'000'000;
  std::size_t max_known_hosts = 4096;
  std::size_t max_promised = 4096;  // background answers waited for; beyond it their estimate is final
  std::size_t max_cached_subjects = 16384;
  bool resumed = false;  // the kernel programs ran before this process
};

struct Stats {
  std::uint64_t exchanges = 0, ai_exchanges = 0, incomplete = 0, estimated = 0;
  std::uint64_t repeats = 0;                      // answers whose usage had been counted before (polls, gateway hops)
  std::map<std::string, std::uint64_t> verdicts;  // by action
  std::map<std::string, std::uint64_t> would;     // by action, observed policies
  std::uint64_t admits = 0, pushes = 0, pushes_missed = 0, destroys = 0, destroys_gone = 0;
  std::uint64_t gate_errors = 0;  // GateControl calls that failed
  std::uint64_t grown = 0;
  std::uint64_t judged_early = 0;  // decided before the request was complete
  std::uint64_t passed_plain = 0, passed_not_http = 0, passed_opaque = 0, refused_opaque = 0;
  std::uint64_t orphans = 0, orphans_refused = 0;
  std::uint64_t ignored_connections = 0;
  std::uint64_t leased = 0, kernel_refused = 0;
  std::uint64_t malformed = 0;  // records of the event source
  std::uint64_t loss_resyncs = 0;
  std::uint64_t endpoints_learnt = 0, endpoints_refused = 0;
  std::uint64_t killed_by_name = 0;  // connections ended at their ClientHello
  std::uint64_t control_errors = 0;  // freezing or ending processes
};

struct KillOutcome {
  std::uint64_t connections_destroyed = 0, held_refused = 0;
  std::uint32_t scopes = 0, processes = 0;
};

struct HeldView {
  const Pending* pending = nullptr;
  const Connection* connection = nullptr;
};

class Pipeline final : public capture::EventSink, private tracker::Host, private CoverageHost {
 public:
  struct Parts {
    const base::Clock& clock;
    gate::GateControl& gate;
    ledger::Ledger& ledger;
    ledger::Estimator& estimator;
    const ledger::PriceBook& prices;
    SubjectSource& subjects;
    ProcessControl& processes;
    KillSwitches& kills;
    Scopes& scopes;
    parsers::ConnectionParserFactory parser_factory;
    capture::KernelCounters* counters;  // null: none to watch
    std::vector<Observer*> observers;
    // From the configuration: "host" or "host:port" -> provider.
    std::shared_ptr<const std::map<std::string, std::string>> endpoint_names;
    TlsKnowledge* tls = nullptr;  // null: nothing is known of processes' libraries
  };
  Pipeline(const Parts& parts, const Options& options, const tracker::Options& tracker_options);
  ~Pipeline() override;

  // capture::EventSink
  void on_data(const pn_ev_data& event, std::span<const std::uint8_t> payload) override;
  void on_bind(const pn_ev_bind& event) override;
  void on_gate(const pn_ev_gate& event) override;
  void on_withdraw(const pn_ev_withdraw& event) override;
  void on_conn_close(const pn_ev_conn_close& event) override;
  void on_fork(const pn_ev_fork& event) override;
  void on_exec(const pn_ev_exec& event) override;
  void on_exit(const pn_ev_exit& event) override;
  void on_mmap(const pn_ev_mmap& event) override;
  void on_hello(const pn_ev_hello& event, std::span<const std::uint8_t> payload) override;
  void on_wire_end(const pn_ev_wire_end& event) override;
  void on_moved(const pn_ev_moved& event) override;
  void on_malformed(std::span<const std::uint8_t> record) override;

  // Replaces the policies: ledger, caches, scopes; held requests are judged anew. On error nothing has changed.
  // `any_strict`: some policy is strict, so that processes nobody has looked at yet must wait.
  base::Result<> set_policies(std::shared_ptr<const policy::CompiledPolicies> policies, bool any_strict);
  // "address:port" -> provider, of the configured endpoints: they count as AI endpoints from now on.
  void set_endpoints(std::shared_ptr<const std::map<std::string, std::string>> names,
                     const std::map<std::string, std::string>& addresses, const std::vector<pn_endpoint_key>& keys);

  // A connection from before the daemon; of no interest unless it leads to an AI endpoint.
  void on_older_connection(const gate::SocketRef& socket);

  // Timers, held requests, orphans, leases, the ledger's tick. Once per turn of the event loop.
  void tick();
  // When tick() has something to do at the latest; absent: nothing waits.
  std::optional<std::uint64_t> next_timer_boot_ns() const;

  // After a start on pinned maps, and after loss: compares what the kernel holds with what is known.
  void resync();

  base::Result<KillOutcome> kill(const api::KillSwitch& order, bool sigkill);
  struct ReleaseOutcome {
    std::uint32_t kills_lifted = 0;
    std::uint64_t held_released = 0;
  };
  base::Result<ReleaseOutcome> release(const api::Selector& selector);
  std::vector<HeldView> held() const;
  // Moves every process into the scope it belongs to now.
  void refresh_scopes();
  // Whoever is born in this cgroup is `subject`, as far as the cgroup tells. Returns whether it has a scope of its own.
  bool set_cgroup(std::uint64_t cgroup_id, const model::Subject& subject);
  void clear_cgroup(std::uint64_t cgroup_id);

  // Ends everything in user space; the kernel keeps what it holds.
  void shutdown();

  const Stats& stats() const { return stats_; }
  // Who talks to AI endpoints, and what is seen of it; refresh() it before reading figures.
  Coverage& coverage() { return coverage_; }
  const tracker::Tracker& tracker() const { return tracker_; }
  std::uint64_t in_flight() const { return in_flight_; }
  std::uint64_t held_count() const { return held_.size(); }
  const std::unordered_set<Connection*>& connections() const { return connections_; }
  std::shared_ptr<const policy::Effective> effective_for(const model::Subject& subject);
  // The same, never from memory: for a process that may have moved since it was placed.
  policy::Effective effective_now(const model::Subject& subject);
  // Something that the process table says of it has changed: who it acts for.
  void look_again(std::uint32_t tgid);
  const std::shared_ptr<const policy::CompiledPolicies>& policies() const { return policies_; }
  const capture::KernelSnapshot& kernel() const { return kernel_; }

 private:
  friend class Connection;

  struct Orphan {
    gate::SocketRef socket;
    std::uint64_t hold_pos = 0;
    std::uint64_t refuse_at_ns = 0;
    bool expired = false;  // on_failure was applied to it
  };

  // tracker::Host
  std::unique_ptr<tracker::ConnectionHandler> open(const tracker::ConnectionInfo& info) override;
  std::optional<gate::SocketRef> find_socket(std::uint64_t cookie) override;

  // CoverageHost
  std::optional<std::string> ai_provider(const gate::SocketRef& socket, std::string_view name) override;
  bool governed(const model::Subject& subject) override { return effective_for(subject)->gated; }
  const tracker::ConnectionInfo* followed(std::uint64_t cookie) override;

  // For Connection.
  std::uint64_t now_ns() const { return parts_.clock.boot_ns(); }
  ledger::Now ledger_now() const { return {parts_.clock.boot_ns(), parts_.clock.real_ns()}; }
  parsers::Endpoint endpoint_of(const gate::SocketRef& socket, std::string_view name) const;
  void begin(Connection& connection, Pending& pending);
  void judge(Connection& connection, Pending& pending);
  void give_verdict(Connection& connection, Pending& pending);
  void judge_again_complete(Connection& connection, Pending& pending);
  void progress(Connection& connection, Pending& pending);
  void finish(Connection& connection, Pending& pending);
  void arm(Connection& connection, std::uint64_t when);
  void disarm(Connection& connection);
  void unhold(Pending& pending, std::uint64_t now);
  void retry_held(Connection& connection, Pending& pending);
  void give_up(Connection& connection, Pending& pending);
  void judge_opaque(Connection& connection, Unread why);
  void refuse_unreadable(Connection& connection);
  model::Exchange unread_exchange(const Connection& connection);
  void refuse_unread(Connection& connection, model::Exchange& unread, const model::Verdict& verdict,
                     std::string_view text);
  void report_unread(model::Exchange& unread, std::string_view text);
  bool goes_to_ai(const Connection& connection);
  void plain_request_done(Connection& connection, const model::Exchange& exchange, std::uint32_t in_a_row);
  // Asks the kernel to stop copying this connection, unless it may matter.
  void ignore(Connection& connection);
  std::uint64_t next_exchange_id() { return next_exchange_id_++; }

  // decide.cc
  static std::vector<std::uint8_t> endpoint_key(const pn_endpoint_key& endpoint);
  void learn_endpoint(const pn_endpoint_key& endpoint);
  static policy::LedgerOutcome for_policy(const ledger::Outcome& outcome, const ledger::Amounts& amounts);
  policy::Context context_for(const policy::Effective& effective) const;
  const ledger::Amounts& upper_of(Pending& pending);
  std::uint64_t expected_input(Pending& pending);
  bool near_limit(Pending& pending, std::uint64_t tokens);
  void reserve(Pending& pending, ledger::Outcome& outcome, bool force);
  void reserve_anyway(Pending& pending);
  void note_call(Connection& connection, Pending& pending);
  policy::Decision decide(Pending& pending, bool force);
  void hold(Connection& connection, Pending& pending, const policy::Decision& decision);
  void admit_anyway(Connection& connection, Pending& pending, const model::Verdict& verdict);
  void admit(Connection& connection, Pending& pending, model::Verdict verdict);
  void report(const model::Exchange& exchange, const model::Verdict& verdict, bool would, std::string_view text);
  void note_crossings(const ledger::Outcome& outcome);
  // `repeat`: its usage was taken away, because another exchange has it.
  void settle(Pending& pending, bool repeat);
  bool settle_deferred(Pending& pending, bool repeat);
  void complete_usage(Pending& pending, const ledger::Settlement& settlement, const ledger::Amounts& charged,
                      bool stands);
  void fill_estimate(model::Exchange& exchange, std::uint64_t tokens);

  // enforce.cc
  void place(const model::Subject& subject);
  policy::Lease lease_left(const policy::Effective& effective);
  void refill_leases();
  void note_control(const base::Result<>& result);
  void note_span(Span what, std::uint64_t ns, std::string_view provider = {});
  void check_loss(std::uint64_t now);
  void refuse_orphans(std::uint64_t now);
  void retry_all_held();
  bool order_hits(const api::Selector& selector, const Connection& connection);

  Parts parts_;
  const Options options_;
  Stats stats_;
  std::shared_ptr<const std::map<std::string, std::string>> endpoint_names_;
  std::map<std::string, std::string> endpoint_addresses_;
  std::shared_ptr<const policy::CompiledPolicies> policies_;
  std::map<model::ProcessKey, std::shared_ptr<const policy::Effective>> effective_cache_;
  std::unordered_set<Connection*> connections_;
  std::set<std::pair<std::uint64_t, Connection*>> timers_;
  std::map<std::uint64_t, std::pair<Connection*, Pending*>> held_;  // by order of arrival
  std::unordered_map<std::uint64_t, Orphan> orphans_;               // by cookie
  std::unordered_map<std::uint64_t, gate::SocketRef> sockets_;      // snapshot for find_socket()
  std::uint64_t sockets_read_ns_ = 0;
  parsers::session::UsageOnce usage_once_;
  // Answers that were only promised (background responses, runs): whose reservation stands until a poll brings the
  // usage.
  std::unordered_map<std::string, std::uint64_t> promised_;  // response id -> exchange id
  std::unordered_set<std::string> ai_hosts_;
  std::set<std::vector<std::uint8_t>> ai_endpoints_;
  std::set<std::vector<std::uint8_t>> plain_endpoints_;
  capture::KernelSnapshot kernel_;
  std::uint64_t next_exchange_id_ = 1;
  std::uint64_t next_held_order_ = 1;
  std::uint64_t in_flight_ = 0;
  std::uint64_t retried_epoch_ = 0;
  std::uint64_t next_loss_check_ns_ = 0;
  std::uint64_t next_lease_refill_ns_ = 0;
  std::uint64_t next_coverage_ns_ = 0;
  bool retry_wanted_ = false;
  bool any_strict_ = false;
  model::NanoUsd dearest_call_;    // largest reservation so far: bounds leases
  std::vector<std::string> keys_;  // scratch of reserve()
  std::vector<ledger::Charge> charges_;
  Coverage coverage_;
  tracker::Tracker tracker_;  // last: its handlers use everything above
};

}  // namespace penstock::pipeline
