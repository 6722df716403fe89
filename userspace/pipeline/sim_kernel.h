// A kernel in user space, for tests: programs write plaintext, the gate holds it with the rules of the BPF programs,
// and what reaches the "server" is recorded. Events go to the sink at once; those caused by orders of the pipeline (the
// end of a destroyed socket) wait for pump(), as they would in a ring.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/base/clock.h"
#include "userspace/capture/core/event_source.h"
#include "userspace/capture/core/kernel_counters.h"
#include "userspace/gate/core/gate_control.h"
#include "userspace/tracker/synthetic_events.h"

namespace penstock::pipeline {

class SimKernel final : public gate::GateControl, public capture::KernelCounters {
 public:
  explicit SimKernel(const base::ManualClock& clock) : clock_(clock) {}

  struct Conn {
    synthetic::Task task;
    std::uint64_t cookie = 0;
    std::uint64_t pos[2] = {};
    gate::HeldConnection::Gate gate;
    std::deque<std::pair<std::uint64_t, std::string>>
        holds;  // (position, bytes): refused by the gate, in the send queue
    pn_admit_val admit{};
    std::string received;  // by the server
    bool alive = true;
    bool destroyed = false;
    int pushes = 0, grown = 0;
    std::uint16_t remote_port = 443;
  };

  capture::EventSink* sink = nullptr;
  std::map<std::uint64_t, Conn> conns;  // by cookie; streams have the same number
  std::map<std::uint32_t, pn_scope_val> scopes;
  std::map<std::uint32_t, std::uint32_t> processes;
  std::map<std::uint64_t, std::uint32_t> cgroups;
  std::vector<pn_endpoint_key> endpoints;
  std::map<std::uint64_t, gate::WireBytes> wire;  // by cookie
  std::vector<gate::Datagrams> udp;
  bool fail_admit = false, fail_destroy = false, lose_data = false, lose_gate = false, daemon_away = false;
  std::uint64_t heartbeat_ns = 0;
  capture::KernelSnapshot counters;

  std::uint64_t connect(std::uint32_t tgid, std::uint16_t remote_port = 443, pn_bind_how how = PN_BIND_NESTED) {
    const std::uint64_t cookie = next_++;
    Conn& conn = conns[cookie];
    conn.cookie = cookie;
    conn.task.tgid = tgid;
    conn.remote_port = remote_port;
    auto event =
        synthetic::bind(cookie, cookie, static_cast<std::uint16_t>(cookie % 60000 + 1), false, conn.task, now());
    event.remote_port = remote_port;
    event.how = static_cast<std::uint8_t>(how);
    deliver([event](capture::EventSink& to) { to.on_bind(event); });
    return cookie;
  }

  std::uint32_t scope_of(const Conn& conn) const {
    if (const auto it = processes.find(conn.task.tgid); it != processes.end()) return it->second;
    if (const auto it = cgroups.find(conn.task.cgroup_id); it != cgroups.end()) return it->second;
    return 0;
  }

  // One write of the program. False: the socket is gone.
  bool write(std::uint64_t cookie, std::string_view text) {
    pump();
    Conn& conn = conns.at(cookie);
    if (!conn.alive) return false;
    const std::uint32_t scope = scope_of(conn);
    conn.task.scope = scope;
    const pn_scope_val value = scopes.contains(scope) ? scopes.at(scope) : pn_scope_val{};
    const std::uint64_t pos = conn.pos[PN_TO_SERVER];
    conn.pos[PN_TO_SERVER] += text.size();
    const bool gated = value.mode != PN_MODE_OBSERVE && (conn.admit.flags & PN_ADMIT_IGNORE) == 0;
    if ((conn.admit.flags & PN_ADMIT_IGNORE) != 0) {
      conn.received += text;
      return true;
    }
    emit_data(conn, PN_TO_SERVER, pos, text, gated ? PN_DATA_PROVISIONAL : 0);
    if (!gated) {
      conn.received += text;
      return true;
    }
    pn_gate_what what = PN_GATE_CLOSED;
    if (conn.admit.pos >= pos + text.size() && conn.holds.empty()) {
      what = PN_GATE_ADMITTED;
      conn.received += text;
    } else if (!conn.holds.empty()) {
      what = PN_GATE_BEHIND;
      conn.holds.emplace_back(std::max<std::uint64_t>(conn.admit.pos, pos), text);
    } else if (daemon_away && value.on_failure == PN_FAIL_OPEN && value.lease_requests > 0) {
      what = PN_GATE_LEASED;
      --scopes.at(scope).lease_requests;
      conn.received += text;
    } else {
      conn.gate = {};
      conn.gate.closed_boot_ns = now();
      conn.gate.deadline_boot_ns = now() + value.deadline_ns;
      conn.gate.scope = scope;
      if (daemon_away && value.on_failure == PN_FAIL_CLOSED) what = PN_GATE_REFUSED;
      conn.holds.emplace_back(std::max<std::uint64_t>(conn.admit.pos, pos), text);
    }
    conn.gate.pos = pos + text.size();
    if (lose_gate) {
      ++counters.loss[PN_EV_gate].lost_ring;
      return true;
    }
    const auto event =
        synthetic::gate(cookie, cookie, what, pos, text.size(), conn.gate.deadline_boot_ns, conn.task, now());
    deliver([event](capture::EventSink& to) { to.on_gate(event); });
    return true;
  }

  // Ciphertext without plaintext, in a strict scope.
  void write_opaque(std::uint64_t cookie, std::string_view text) {
    pump();
    Conn& conn = conns.at(cookie);
    conn.holds.emplace_back(PN_OPAQUE_POS, text);
    const auto event = synthetic::gate(cookie, cookie, PN_GATE_OPAQUE, conn.pos[PN_TO_SERVER], 0, 0, conn.task, now());
    deliver([event](capture::EventSink& to) { to.on_gate(event); });
  }

  void answer(std::uint64_t cookie, std::string_view text) {
    pump();
    Conn& conn = conns.at(cookie);
    if (!conn.alive || (conn.admit.flags & PN_ADMIT_IGNORE) != 0) return;
    const std::uint64_t pos = conn.pos[PN_TO_CLIENT];
    conn.pos[PN_TO_CLIENT] += text.size();
    emit_data(conn, PN_TO_CLIENT, pos, text, 0);
  }

  void close(std::uint64_t cookie) {
    Conn& conn = conns.at(cookie);
    if (!conn.alive) return;
    conn.alive = false;
    const auto event = synthetic::conn_close(cookie, cookie, conn.pos[0], conn.pos[1], now());
    later_.push_back([event](capture::EventSink& to) { to.on_conn_close(event); });
    pump();
  }

  // Delivers what waits in the ring.
  void pump() {
    while (!later_.empty() && sink != nullptr) {
      const auto event = std::move(later_.front());
      later_.pop_front();
      event(*sink);
    }
  }
  void drop_ring() { later_.clear(); }

  // gate::GateControl
  base::Result<> admit(std::uint64_t cookie, std::uint64_t pos, std::uint32_t flags) override {
    if (fail_admit) return base::errno_error(EIO, "admit");
    Conn& conn = conns.at(cookie);
    conn.admit.pos = pos;
    conn.admit.flags = flags;
    return {};
  }
  base::Result<bool> push(const gate::SocketRef& socket) override {
    Conn& conn = conns.at(socket.cookie);
    ++conn.pushes;
    // As the egress program: a write goes when the admission has passed its start.
    while (!conn.holds.empty() && conn.admit.pos > conn.holds.front().first) {
      conn.received += conn.holds.front().second;
      conn.holds.pop_front();
    }
    return true;
  }
  base::Result<bool> grow_send_buffer(const gate::SocketRef& socket, std::uint32_t) override {
    ++conns.at(socket.cookie).grown;
    return true;
  }
  base::Result<bool> destroy(const gate::SocketRef& socket) override {
    if (fail_destroy) return base::errno_error(EPERM, "destroy");
    Conn& conn = conns.at(socket.cookie);
    if (!conn.alive) return false;
    conn.alive = false;
    conn.destroyed = true;
    conn.holds.clear();
    const auto event = synthetic::conn_close(socket.cookie, socket.cookie, conn.pos[0], conn.pos[1], now());
    later_.push_back([event](capture::EventSink& to) { to.on_conn_close(event); });
    return true;
  }
  base::Result<> set_scope(std::uint32_t scope, const pn_scope_val& value) override {
    scopes[scope] = value;
    return {};
  }
  base::Result<> set_process_scope(std::uint32_t tgid, std::uint32_t scope) override {
    processes[tgid] = scope;
    return {};
  }
  base::Result<> clear_process_scope(std::uint32_t tgid) override {
    processes.erase(tgid);
    return {};
  }
  base::Result<> set_cgroup_scope(std::uint64_t cgroup_id, std::uint32_t scope) override {
    cgroups[cgroup_id] = scope;
    return {};
  }
  base::Result<> clear_cgroup_scope(std::uint64_t cgroup_id) override {
    cgroups.erase(cgroup_id);
    return {};
  }
  base::Result<> add_endpoint(const pn_endpoint_key& endpoint) override {
    endpoints.push_back(endpoint);
    return {};
  }
  void heartbeat(std::uint64_t now_boot_ns) override { heartbeat_ns = now_boot_ns; }
  std::vector<gate::HeldConnection> held() override {
    std::vector<gate::HeldConnection> out;
    for (const auto& [cookie, conn] : conns) {
      if (!conn.alive || conn.holds.empty()) continue;
      gate::HeldConnection held{cookie, conn.gate, socket_of(conn)};
      held.gate.hold_pos = conn.holds.front().first;
      out.push_back(held);
    }
    return out;
  }
  std::vector<gate::SocketRef> connections() override {
    std::vector<gate::SocketRef> out;
    for (const auto& [cookie, conn] : conns) {
      if (conn.alive) out.push_back(socket_of(conn));
    }
    return out;
  }

  std::optional<gate::WireBytes> wire_bytes(const gate::SocketRef& socket) override {
    const auto it = wire.find(socket.cookie);
    return it == wire.end() ? std::nullopt : std::optional(it->second);
  }
  std::vector<gate::Datagrams> datagrams() override { return udp; }

  capture::KernelSnapshot read_counters() override { return counters; }

 private:
  std::uint64_t now() const { return clock_.boot_ns(); }
  static gate::SocketRef socket_of(const Conn& conn) {
    gate::SocketRef socket;
    socket.cookie = conn.cookie;
    socket.tgid = conn.task.tgid;
    socket.family = 2;
    socket.remote_port = conn.remote_port;
    socket.remote_addr = {192, 0, 2, 1};
    return socket;
  }
  void emit_data(Conn& conn, pn_direction direction, std::uint64_t pos, std::string_view text, std::uint8_t flags) {
    if (lose_data) {
      ++counters.loss[PN_EV_data].lost_ring;
      counters.loss[PN_EV_data].lost_ring_bytes += text.size();
      return;
    }
    const auto event = synthetic::data(conn.cookie, conn.cookie, direction, pos, text.size(), flags, conn.task, now());
    deliver(
        [event, copy = std::string(text)](capture::EventSink& to) { to.on_data(event, synthetic::bytes_of(copy)); });
  }
  // With nobody there (the daemon is dead) events stay in the ring.
  void deliver(std::function<void(capture::EventSink&)> event) {
    later_.push_back(std::move(event));
    pump();
  }

  const base::ManualClock& clock_;
  std::uint64_t next_ = 1;
  std::deque<std::function<void(capture::EventSink&)>> later_;
};

}  // namespace penstock::pipeline
