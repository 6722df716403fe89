// Events as the kernel would emit them, for tests of everything behind EventSink.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "bpf/include/penstock/wire.h"

namespace penstock::synthetic {

// Who and when: filled into each event's header.
struct Task {
  std::uint32_t tgid = 100;
  std::uint64_t cgroup_id = 1;
  std::uint32_t scope = 0;
};

inline std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

inline pn_ev_hdr header(pn_event_kind kind, const Task& task, std::uint64_t boot_ns, std::size_t size) {
  pn_ev_hdr hdr{};
  hdr.kind = static_cast<std::uint16_t>(kind);
  hdr.version = PN_WIRE_VERSION;
  hdr.size = static_cast<std::uint32_t>(size);
  hdr.boot_ns = boot_ns;
  hdr.tgid = task.tgid;
  hdr.tid = task.tgid;
  hdr.cgroup_id = task.cgroup_id;
  return hdr;
}

inline pn_ev_data data(std::uint64_t stream, std::uint64_t cookie, pn_direction direction, std::uint64_t pos,
                       std::size_t len, std::uint8_t flags, const Task& task, std::uint64_t boot_ns) {
  pn_ev_data event{};
  event.hdr = header(PN_EV_data, task, boot_ns, sizeof event + len);
  event.cookie = cookie;
  event.stream = stream;
  event.pos = pos;
  event.len = static_cast<std::uint32_t>(len);
  event.scope = task.scope;
  event.direction = static_cast<std::uint8_t>(direction);
  event.flags = flags;
  return event;
}

// 127.0.0.1:`local_port` -> 192.0.2.1:443
inline pn_ev_bind bind(std::uint64_t stream, std::uint64_t cookie, std::uint16_t local_port, bool joined,
                       const Task& task, std::uint64_t boot_ns) {
  pn_ev_bind event{};
  event.hdr = header(PN_EV_bind, task, boot_ns, sizeof event);
  event.cookie = cookie;
  event.stream = stream;
  const std::uint8_t local[4] = {127, 0, 0, 1};
  const std::uint8_t remote[4] = {192, 0, 2, 1};
  std::memcpy(event.local_addr, local, sizeof local);
  std::memcpy(event.remote_addr, remote, sizeof remote);
  event.local_port = local_port;
  event.remote_port = 443;
  event.family = 2;  // AF_INET
  event.how = PN_BIND_NESTED;
  event.joined = joined ? 1 : 0;
  event.scope = task.scope;
  return event;
}

inline pn_ev_gate gate(std::uint64_t stream, std::uint64_t cookie, pn_gate_what what, std::uint64_t pos,
                       std::uint64_t len, std::uint64_t deadline_boot_ns, const Task& task, std::uint64_t boot_ns) {
  pn_ev_gate event{};
  event.hdr = header(PN_EV_gate, task, boot_ns, sizeof event);
  event.cookie = cookie;
  event.stream = stream;
  event.pos = pos;
  event.len = len;
  event.deadline_boot_ns = deadline_boot_ns;
  event.scope = task.scope;
  event.fd = 7;
  event.what = static_cast<std::uint8_t>(what);
  return event;
}

inline pn_ev_withdraw withdraw(std::uint64_t stream, std::uint64_t cookie, std::uint64_t pos, const Task& task,
                               std::uint64_t boot_ns) {
  pn_ev_withdraw event{};
  event.hdr = header(PN_EV_withdraw, task, boot_ns, sizeof event);
  event.cookie = cookie;
  event.stream = stream;
  event.pos = pos;
  return event;
}

inline pn_ev_conn_close conn_close(std::uint64_t stream, std::uint64_t cookie, std::uint64_t to_server,
                                   std::uint64_t to_client, std::uint64_t boot_ns) {
  pn_ev_conn_close event{};
  event.hdr = header(PN_EV_conn_close, Task{}, boot_ns, sizeof event);
  event.cookie = cookie;
  event.stream = stream;
  event.to_server_bytes = to_server;
  event.to_client_bytes = to_client;
  return event;
}

}  // namespace penstock::synthetic
