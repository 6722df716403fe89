#include "userspace/pipeline/pipeline.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "parsers/session/select.h"
#include "userspace/policy/match.h"

namespace penstock::pipeline {
namespace {

constexpr std::uint64_t kSocketsFreshNs = 10'000'000;

std::string address_text(const gate::SocketRef& socket) {
  char text[INET6_ADDRSTRLEN] = {};
  const pn_endpoint_key remote = gate::remote_of(socket);
  if (remote.family != AF_INET && remote.family != AF_INET6) return {};
  return ::inet_ntop(remote.family, remote.addr, text, sizeof text) == nullptr ? std::string() : text;
}

}  // namespace

Pipeline::Pipeline(const Parts& parts, const Options& options, const tracker::Options& tracker_options)
    : parts_(parts),
      options_(options),
      endpoint_names_(parts.endpoint_names),
      coverage_(parts.clock, parts.gate, parts.subjects, *this, parts.tls, {}),
      tracker_(*this, tracker_options) {
  // Ids ascend across restarts: microseconds of real time leave room for a million exchanges a second.
  const std::int64_t real_us = parts_.clock.real_ns() / 1000;
  if (real_us > 0) next_exchange_id_ = static_cast<std::uint64_t>(real_us);
  // Without policies everything is observed.
  auto none = policy::compile({});
  if (!none) PN_BUG("pipeline: no policies at all do not compile");
  policies_ = std::move(none).value();
}

Pipeline::~Pipeline() = default;

void Pipeline::shutdown() { tracker_.close_all(now_ns()); }

// ---- events --------------------------------------------------------------------------------------------------------

void Pipeline::on_data(const pn_ev_data& event, std::span<const std::uint8_t> payload) {
  tracker_.on_data(event, payload);
}
void Pipeline::on_bind(const pn_ev_bind& event) { tracker_.on_bind(event); }
void Pipeline::on_gate(const pn_ev_gate& event) { tracker_.on_gate(event); }
void Pipeline::on_withdraw(const pn_ev_withdraw& event) { tracker_.on_withdraw(event); }
void Pipeline::on_conn_close(const pn_ev_conn_close& event) {
  orphans_.erase(event.cookie);
  tracker_.on_conn_close(event);
}

void Pipeline::on_hello(const pn_ev_hello& event, std::span<const std::uint8_t> payload) {
  const std::optional<Coverage::Asked> asked = coverage_.on_hello(event, payload);
  if (!asked || parts_.kills.empty()) return;
  // A kill switch needs no request to be read: addresses are shared, the name says enough.
  model::Exchange unread;
  unread.connection = event.cookie;
  unread.subject = parts_.subjects.subject(event.hdr.tgid);
  unread.provider = asked->provider;
  if (!parts_.kills.stops(unread.subject)) return;
  unread.port = event.remote_port;
  unread.host = coverage_.server_name(event.cookie);
  unread.timing.start_real_ns = parts_.clock.real_ns();
  unread.verdict = {model::Action::kKill, effective_for(unread.subject)->mode, {}, {}, "killed", 0};
  ++stats_.killed_by_name;
  if (!parts_.gate.destroy(asked->socket)) ++stats_.gate_errors;
  report_unread(unread, "killed: ended at its ClientHello");
}

void Pipeline::on_wire_end(const pn_ev_wire_end& event) { coverage_.on_wire_end(event); }

const tracker::ConnectionInfo* Pipeline::followed(std::uint64_t cookie) {
  const auto* connection = static_cast<const Connection*>(tracker_.find_cookie(cookie));
  return connection == nullptr ? nullptr : &connection->info();
}

void Pipeline::on_fork(const pn_ev_fork& event) {
  parts_.subjects.on_fork(event);
  parts_.scopes.forked(event.hdr.tgid, event.child_tgid);
  for (Observer* observer : parts_.observers) observer->on_fork(event.child_tgid);
}

void Pipeline::on_exec(const pn_ev_exec& event) {
  parts_.subjects.on_exec(event);
  look_again(event.hdr.tgid);  // the same process is somebody else now
  for (Observer* observer : parts_.observers) observer->on_exec(event.hdr.tgid);
}

void Pipeline::look_again(std::uint32_t tgid) {
  const model::Subject subject = parts_.subjects.subject(tgid);
  effective_cache_.erase(subject.process);
  place(subject);
}

void Pipeline::on_moved(const pn_ev_moved& event) {
  parts_.subjects.on_moved(event.moved_tgid);
  look_again(event.moved_tgid);
}

void Pipeline::on_exit(const pn_ev_exit& event) {
  effective_cache_.erase({event.hdr.tgid, event.start_boot_ns});
  parts_.scopes.exited(event.hdr.tgid);
  parts_.subjects.on_exit(event);
  for (Observer* observer : parts_.observers) observer->on_exit(event.hdr.tgid);
}

void Pipeline::on_mmap(const pn_ev_mmap&) {}  // of interest to whoever attaches probes

void Pipeline::on_malformed(std::span<const std::uint8_t>) { ++stats_.malformed; }

std::unique_ptr<tracker::ConnectionHandler> Pipeline::open(const tracker::ConnectionInfo& info) {
  auto connection = std::make_unique<Connection>(*this, info);
  const auto orphan = orphans_.find(info.socket.cookie);
  if (orphan != orphans_.end() && orphan->second.expired) connection->set_kernel_refused();
  return connection;
}

std::optional<gate::SocketRef> Pipeline::find_socket(std::uint64_t cookie) {
  const std::uint64_t now = now_ns();
  auto it = sockets_.find(cookie);
  if (it == sockets_.end() && (sockets_read_ns_ == 0 || now - sockets_read_ns_ >= kSocketsFreshNs)) {
    sockets_.clear();
    for (const gate::SocketRef& socket : parts_.gate.connections()) sockets_.emplace(socket.cookie, socket);
    sockets_read_ns_ = now;
    it = sockets_.find(cookie);
  }
  return it == sockets_.end() ? std::nullopt : std::optional(it->second);
}

void Pipeline::on_older_connection(const gate::SocketRef& socket) {
  if (const auto provider = ai_provider(socket, {})) coverage_.on_older(socket, *provider);
}

std::optional<std::string> Pipeline::ai_provider(const gate::SocketRef& socket, std::string_view name) {
  const parsers::Endpoint endpoint = endpoint_of(socket, name);
  if (!name.empty()) {
    const std::string_view provider = parsers::session::provider_of_server(endpoint, name);
    if (!provider.empty()) return std::string(provider);
    if (ai_hosts_.contains(std::string(name))) return std::string();
  }
  // An address that was configured is what it was said to be; one that was learnt may be shared with other names.
  if (!endpoint.provider.empty()) return endpoint.provider;
  if (name.empty() && ai_endpoints_.contains(endpoint_key(gate::remote_of(socket)))) return std::string();
  return std::nullopt;
}

parsers::Endpoint Pipeline::endpoint_of(const gate::SocketRef& socket, std::string_view name) const {
  parsers::Endpoint endpoint;
  if (socket.stdio_server != 0) {
    endpoint.pipes = true;
    endpoint.host = parts_.subjects.program(socket.stdio_server);
    return endpoint;
  }
  endpoint.host = name;
  endpoint.address = address_text(socket);
  endpoint.port = socket.remote_port;
  endpoint.names = endpoint_names_;
  const bool v6 = endpoint.address.find(':') != std::string::npos;
  const std::string at = fmt::format("{}{}{}:{}", v6 ? "[" : "", endpoint.address, v6 ? "]" : "", endpoint.port);
  if (const auto it = endpoint_addresses_.find(at); it != endpoint_addresses_.end()) endpoint.provider = it->second;
  return endpoint;
}

// ---- the life of an exchange ---------------------------------------------------------------------------------------

void Pipeline::begin(Connection& connection, Pending& pending) {
  model::Exchange& exchange = *pending.exchange;
  exchange.id = next_exchange_id();
  exchange.connection = connection.info().socket.cookie;
  exchange.subject = parts_.subjects.subject(connection.info().socket.tgid);
  exchange.subject.scope_id = connection.info().scope;
  if (exchange.port == 0) exchange.port = connection.info().socket.remote_port;
  if (exchange.timing.start_real_ns == 0) {
    const auto age = static_cast<std::int64_t>(now_ns() - connection.info().last_boot_ns);
    exchange.timing.start_real_ns = parts_.clock.real_ns() - std::max<std::int64_t>(age, 0);
  }
  pending.effective = effective_for(exchange.subject);
  exchange.verdict.mode = pending.effective->mode;
  ++in_flight_;
}

void Pipeline::progress(Connection& connection, Pending& pending) {
  if (!pending.reserved || pending.cut) return;
  model::Exchange& exchange = *pending.exchange;
  const ledger::Amounts so_far = parts_.estimator.progress_amounts(exchange, expected_input(pending));
  if (!pending.urgent && near_limit(pending, so_far.tokens)) {
    pending.urgent = true;
    connection.watch_closely();
  }
  const ledger::Outcome outcome = parts_.ledger.progress(exchange.id, so_far, ledger_now());
  note_crossings(outcome);
  if (!outcome.breached || !pending.hard) return;
  const policy::Decision decision =
      policy::decide_stream(exchange, *pending.effective, for_policy(outcome, so_far), context_for(*pending.effective));
  if (decision.verdict.action != model::Action::kCut && decision.verdict.action != model::Action::kKill) return;
  pending.cut = true;
  std::uint64_t beyond = 0;
  for (const ledger::Breach& breach : outcome.breaches) {
    if (breach.unit != ledger::BudgetUnit::kTokens) continue;
    const auto status = parts_.ledger.status(breach.budget, breach.key, ledger_now());
    const model::Int128 used = status ? model::Int128{status->spent} + status->reserved : 0;
    if (used > breach.limit) beyond = std::max(beyond, static_cast<std::uint64_t>(used - breach.limit));
  }
  for (Observer* observer : parts_.observers) observer->on_cut(exchange, beyond);
  const std::uint64_t held = exchange.verdict.gate_ns;
  exchange.verdict = decision.verdict;
  exchange.verdict.gate_ns = held;
  const std::string text = decision.finding ? decision.finding->text : std::string();
  report(exchange, exchange.verdict, false, text);
  connection.destroy(decision.verdict, text);
}

void Pipeline::finish(Connection& connection, Pending& pending) {
  model::Exchange& exchange = *pending.exchange;
  if (in_flight_ > 0) --in_flight_;
  if (policy::is_ai(exchange)) {
    if (connection.ai()) connection.remember_target(exchange);
    const bool repeat = usage_once_.apply(exchange);
    if (repeat) ++stats_.repeats;
    settle(pending, repeat);
    ++stats_.ai_exchanges;
    if (exchange.usage_status == model::UsageStatus::kEstimated) ++stats_.estimated;
  }
  if (exchange.usage_status == model::UsageStatus::kIncomplete) ++stats_.incomplete;
  ++stats_.exchanges;
  for (Observer* observer : parts_.observers) {
    if (pending.chunks.sum_ns > 0) observer->on_chunks(exchange, pending.chunks);
    observer->on_exchange(exchange);
  }
}

void Pipeline::plain_request_done(Connection& connection, const model::Exchange& exchange, std::uint32_t in_a_row) {
  const gate::SocketRef& socket = connection.info().socket;
  if (!connection.ai()) {
    const std::vector<std::uint8_t> key = endpoint_key(gate::remote_of(socket));
    if (plain_endpoints_.size() < options_.max_known_hosts && !ai_endpoints_.contains(key))
      plain_endpoints_.insert(key);
  }
  // Cleartext is common, and the kernel looks again when the next request begins.
  const bool clear = connection.info().how == PN_BIND_CLEAR;
  if (clear || (in_a_row >= options_.ignore_after_requests && !ai_hosts_.contains(exchange.host))) ignore(connection);
}

void Pipeline::ignore(Connection& connection) {
  const gate::SocketRef& socket = connection.info().socket;
  const bool clear = connection.info().how == PN_BIND_CLEAR;
  if (connection.ai() || connection.holding() || (connection.ignored() && !clear) || coverage_.is_ai(socket.cookie) ||
      (clear && ai_endpoints_.contains(endpoint_key(gate::remote_of(socket)))))
    return;
  const model::Subject& subject = parts_.subjects.subject(socket.tgid);
  if (effective_for(subject)->gated || parts_.scopes.default_gates()) return;
  if (!parts_.gate.admit(socket.cookie, 0, PN_ADMIT_IGNORE)) {
    ++stats_.gate_errors;
    return;
  }
  if (!connection.ignored()) ++stats_.ignored_connections;
  connection.set_ignored(true);
}

// ---- timers --------------------------------------------------------------------------------------------------------

void Pipeline::arm(Connection& connection, std::uint64_t when) {
  if (connection.timer_ns() == when) return;
  disarm(connection);
  if (when == 0) return;
  connection.set_timer_ns(when);
  timers_.emplace(when, &connection);
}

void Pipeline::disarm(Connection& connection) {
  if (connection.timer_ns() == 0) return;
  timers_.erase({connection.timer_ns(), &connection});
  connection.set_timer_ns(0);
}

std::optional<std::uint64_t> Pipeline::next_timer_boot_ns() const {
  std::optional<std::uint64_t> next;
  const auto sooner = [&next](std::uint64_t when) {
    if (!next || when < *next) next = when;
  };
  if (!timers_.empty()) sooner(timers_.begin()->first);
  for (const auto& [cookie, orphan] : orphans_) sooner(orphan.refuse_at_ns);
  if (retry_wanted_ || (!held_.empty() && parts_.ledger.capacity_epoch() != retried_epoch_)) sooner(0);
  return next;
}

void Pipeline::tick() {
  const std::uint64_t now = now_ns();
  parts_.ledger.tick(ledger_now());
  while (!timers_.empty() && timers_.begin()->first <= now) {
    Connection* connection = timers_.begin()->second;
    disarm(*connection);
    connection->on_timer(now);
  }
  if (retry_wanted_ || parts_.ledger.capacity_epoch() != retried_epoch_) retry_all_held();
  if (!orphans_.empty()) refuse_orphans(now);
  if (now >= next_loss_check_ns_) {
    next_loss_check_ns_ = now + options_.loss_check_ns;
    check_loss(now);
  }
  if (now >= next_coverage_ns_) {
    next_coverage_ns_ = now + options_.coverage_ns;
    coverage_.refresh();
  }
  if (now >= next_lease_refill_ns_) {
    next_lease_refill_ns_ = now + options_.lease_refill_ns;
    refill_leases();
  }
}

// ---- held requests -------------------------------------------------------------------------------------------------

void Pipeline::unhold(Pending& pending, std::uint64_t now) {
  if (pending.held_order == 0) return;
  held_.erase(pending.held_order);
  pending.held_order = 0;
  const std::uint64_t for_ns = now > pending.held_since_ns ? now - pending.held_since_ns : 0;
  if (pending.stage == Stage::kHeld) {
    // The program gave up, or the connection ended: it was never let go.
    pending.exchange->verdict = pending.held_verdict;
    pending.exchange->verdict.gate_ns = for_ns;
  }
  for (Observer* observer : parts_.observers) {
    observer->on_hold_ended(*pending.exchange, pending.held_verdict.reason, for_ns);
  }
}

void Pipeline::retry_all_held() {
  retry_wanted_ = false;
  // Settling one may make room that an earlier one in the queue could not use: each turn of the loop tries the whole
  // queue once, oldest first.
  retried_epoch_ = parts_.ledger.capacity_epoch();
  std::vector<std::uint64_t> orders;
  orders.reserve(held_.size());
  for (const auto& [order, entry] : held_) orders.push_back(order);
  for (const std::uint64_t order : orders) {
    const auto it = held_.find(order);
    if (it == held_.end()) continue;
    const auto [connection, pending] = it->second;
    retry_held(*connection, *pending);
    connection->update();
  }
}

void Pipeline::retry_held(Connection& connection, Pending& pending) {
  pending.retry_at_ns = 0;
  judge(connection, pending);
}

void Pipeline::give_up(Connection& connection, Pending& pending) {
  if (pending.then == model::Action::kAllow) {
    pending.released = true;
    judge(connection, pending);
    return;
  }
  model::Verdict verdict = pending.held_verdict;
  verdict.action = model::Action::kDeny;
  connection.refuse(pending, verdict, std::string(pending.held_text));
}

std::vector<HeldView> Pipeline::held() const {
  std::vector<HeldView> out;
  out.reserve(held_.size());
  for (const auto& [order, entry] : held_) out.push_back({entry.second, entry.first});
  return out;
}

}  // namespace penstock::pipeline
