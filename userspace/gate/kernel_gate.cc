#include "userspace/gate/kernel_gate.h"

#include <bpf/bpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace penstock::gate {
namespace {

#ifndef SO_BUF_LOCK
constexpr int SO_BUF_LOCK = 72;  // kernel 5.14 (04190bf8944d)
#endif
constexpr std::size_t kMaxGrown = 65536;

template <class Key, class Value>
base::Result<> write_map(int fd, const Key& key, const Value& value, const char* what) {
  if (bpf_map_update_elem(fd, &key, &value, BPF_ANY) != 0)
    return base::errno_error(errno, what, errno == E2BIG ? "the kernel table is full" : "");
  return {};
}

template <class Key>
base::Result<> erase_map(int fd, const Key& key, const char* what) {
  if (bpf_map_delete_elem(fd, &key) != 0 && errno != ENOENT) return base::errno_error(errno, what);
  return {};
}

SocketRef socket_of(std::uint64_t cookie, const pn_conn_val& conn) {
  SocketRef ref;
  ref.cookie = cookie;
  ref.tgid = conn.tgid;
  ref.family = conn.family;
  ref.local_port = conn.local_port;
  ref.remote_port = conn.remote_port;
  std::memcpy(ref.local_addr.data(), conn.local_addr, 16);
  std::memcpy(ref.remote_addr.data(), conn.remote_addr, 16);
  return ref;
}

// As pn_holds_left (bpf/lib/scope.h) sees it: the first write that `admitted` has not released.
const pn_hold* first_hold(const pn_gate_val& gate, std::uint64_t admitted) {
  for (std::uint32_t i = 0; i < gate.holds && i < PN_HOLDS; ++i) {
    const bool stands_for_more = gate.overflow != 0 && i + 1 == gate.holds;
    if (stands_for_more ? admitted < gate.pos : admitted <= gate.hold[i].pos) return &gate.hold[i];
  }
  return nullptr;
}

// Calls f(key) for every key. Keys may come and go meanwhile: a walk that loses its place starts again and ends by
// count.
template <class Key, class F>
void for_each_key(int fd, std::size_t at_most, F f) {
  Key key{}, next{};
  const Key* at = nullptr;
  for (std::size_t n = 0; n < at_most && bpf_map_get_next_key(fd, at, &next) == 0; ++n) {
    key = next;
    at = &key;
    f(key);
  }
}

}  // namespace

base::Result<> KernelGate::admit(std::uint64_t cookie, std::uint64_t pos, std::uint32_t flags) {
  return write_map(maps_.admit, cookie, pn_admit_val{pos, flags, 0}, "write pn_admit");
}

base::Result<bool> KernelGate::signal_server(const SocketRef& socket, int signal) {
  const base::Fd server(static_cast<int>(syscall(SYS_pidfd_open, socket.stdio_server, 0)));
  // The kernel forgets a server when it ends: with this record there, the descriptor is of that process and no other.
  pn_stdio_val value{};
  const bool same = bpf_map_lookup_elem(maps_.stdio, &socket.stdio_server, &value) == 0 &&
                    (value.stream | PN_STDIO_COOKIE) == socket.cookie;
  if (!server || !same) return false;
  if (syscall(SYS_pidfd_send_signal, server.get(), signal, nullptr, 0) == 0) return true;
  if (errno == ESRCH) return false;
  return base::errno_error(errno, "signal a server over pipes", "needs CAP_KILL");
}

base::Result<bool> KernelGate::push(const SocketRef& socket) {
  if (socket.stdio_server != 0) return signal_server(socket, SIGCONT);
  base::Fd fd = sockets_.duplicate(socket);
  if (!fd) return false;
  int before = 0;
  socklen_t bytes = sizeof before;
  const int on = 1;
  // Setting TCP_NODELAY pushes what is queued (net/ipv4/tcp.c, __tcp_sock_set_nodelay), whatever it was before.
  if (getsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &before, &bytes) != 0 ||
      setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
    return base::errno_error(errno, "push a released socket");
  if (before == 0) setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &before, sizeof before);
  if (grown_.erase(socket.cookie) > 0) {
    const int unlocked = 0;  // hand the buffer size back to the kernel's own tuning
    setsockopt(fd.get(), SOL_SOCKET, SO_BUF_LOCK, &unlocked, sizeof unlocked);
  }
  return true;
}

base::Result<bool> KernelGate::grow_send_buffer(const SocketRef& socket, std::uint32_t bytes) {
  if (socket.stdio_server != 0) return false;
  base::Fd fd = sockets_.duplicate(socket);
  if (!fd) return false;
  const std::uint32_t wanted = std::min(bytes, options_.max_send_buffer_bytes);
  int have = 0;
  socklen_t have_bytes = sizeof have;
  if (getsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &have, &have_bytes) == 0 && have >= static_cast<int>(wanted))
    return true;
  // The kernel doubles the value for its bookkeeping (net/core/sock.c); as much again pays for small segments.
  const int value = static_cast<int>(wanted);
  if (setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &value, sizeof value) != 0)
    return base::errno_error(errno, "raise the send buffer of a held socket", "needs CAP_NET_ADMIN");
  if (grown_.size() >= kMaxGrown) grown_.clear();
  grown_.insert(socket.cookie);
  return true;
}

base::Result<bool> KernelGate::destroy(const SocketRef& socket) {
  grown_.erase(socket.cookie);
  if (socket.stdio_server != 0) return signal_server(socket, SIGKILL);
  return diagnosis_.destroy(socket);
}

void KernelGate::scopes_changed() { __atomic_add_fetch(&maps_.control->scope_gen, 1U, __ATOMIC_SEQ_CST); }

// pn_ctl.gating is what lets ungated hosts pass with one load: it must be set before a scope that gates is in use.
base::Result<> KernelGate::refresh_gating() {
  __u32 wanted = 0;
  for (std::uint32_t scope = 0; scope < PN_MAX_SCOPES; ++scope) {
    pn_scope_val value{};
    if (bpf_map_lookup_elem(maps_.scope, &scope, &value) != 0) return base::errno_error(errno, "read pn_scope");
    if (value.mode != PN_MODE_OBSERVE || value.flags != 0) wanted |= PN_GATING_ON;
    if (value.mode != PN_MODE_OBSERVE && (value.flags & PN_SCOPE_OPAQUE_ALLOW) == 0) wanted |= PN_GATING_OPAQUE;
  }
  __atomic_or_fetch(&maps_.control->gating, wanted, __ATOMIC_SEQ_CST);
  __atomic_and_fetch(&maps_.control->gating, wanted | PN_GATING_FULL, __ATOMIC_SEQ_CST);
  return {};
}

base::Result<> KernelGate::set_scope(std::uint32_t scope, const pn_scope_val& value) {
  if (scope >= PN_MAX_SCOPES) PN_BUG("scope out of range");
  PN_CHECK(write_map(maps_.scope, scope, value, "write pn_scope"));
  PN_CHECK(refresh_gating());
  scopes_changed();
  return {};
}

base::Result<> KernelGate::set_process_scope(std::uint32_t tgid, std::uint32_t scope) {
  PN_CHECK(write_map(maps_.proc, tgid, pn_proc_val{scope, 0}, "write pn_proc"));
  scopes_changed();
  return {};
}

base::Result<> KernelGate::clear_process_scope(std::uint32_t tgid) {
  sockets_.forget_process(tgid);
  PN_CHECK(erase_map(maps_.proc, tgid, "clear pn_proc"));
  scopes_changed();
  return {};
}

base::Result<> KernelGate::set_cgroup_scope(std::uint64_t cgroup_id, std::uint32_t scope) {
  PN_CHECK(write_map(maps_.cgroup, cgroup_id, scope, "write pn_cgroup"));
  scopes_changed();
  return {};
}

base::Result<> KernelGate::clear_cgroup_scope(std::uint64_t cgroup_id) {
  PN_CHECK(erase_map(maps_.cgroup, cgroup_id, "clear pn_cgroup"));
  scopes_changed();
  return {};
}

base::Result<> KernelGate::add_endpoint(const pn_endpoint_key& endpoint) {
  return write_map(maps_.endpoint, endpoint, std::uint8_t{1}, "write pn_endpoint");
}

void KernelGate::heartbeat(std::uint64_t now_boot_ns) {
  __atomic_store_n(&maps_.control->heartbeat_boot_ns, now_boot_ns, __ATOMIC_RELEASE);
}

std::vector<HeldConnection> KernelGate::held() {
  std::vector<HeldConnection> out;
  for_each_key<std::uint64_t>(maps_.gate, PN_MAX_CONNS, [&](std::uint64_t cookie) {
    HeldConnection h;
    h.cookie = cookie;
    pn_gate_val gate{};
    pn_admit_val admit{};
    if (bpf_map_lookup_elem(maps_.gate, &cookie, &gate) != 0) return;
    bpf_map_lookup_elem(maps_.admit, &cookie, &admit);
    const pn_hold* hold = first_hold(gate, admit.pos);
    if (hold == nullptr) return;
    h.gate = {gate.pos, hold->pos, gate.closed_boot_ns, gate.deadline_boot_ns, gate.scope, gate.expired != 0};
    pn_conn_val conn{};
    if (bpf_map_lookup_elem(maps_.conn, &cookie, &conn) == 0) h.socket = socket_of(cookie, conn);
    h.socket.cookie = cookie;
    out.push_back(h);
  });
  return out;
}

std::vector<SocketRef> KernelGate::connections() {
  std::vector<SocketRef> out;
  for_each_key<std::uint64_t>(maps_.conn, PN_MAX_CONNS, [&](std::uint64_t cookie) {
    pn_conn_val conn{};
    if (bpf_map_lookup_elem(maps_.conn, &cookie, &conn) == 0) out.push_back(socket_of(cookie, conn));
  });
  return out;
}

std::optional<WireBytes> KernelGate::wire_bytes(const SocketRef& socket) { return diagnosis_.wire_bytes(socket); }

std::vector<Datagrams> KernelGate::datagrams() {
  std::vector<Datagrams> out;
  if (__atomic_load_n(&maps_.control->datagrams, __ATOMIC_RELAXED) == 0) return out;
  for_each_key<std::uint64_t>(maps_.datagram, PN_MAX_DATAGRAMS, [&](std::uint64_t cookie) {
    Datagrams found{cookie, {}};
    if (bpf_map_lookup_elem(maps_.datagram, &cookie, &found.value) == 0) out.push_back(found);
  });
  return out;
}

}  // namespace penstock::gate
