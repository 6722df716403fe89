// What the decision-making side may do to the world. One implementation writes the kernel's enforcement maps and acts
// on sockets (userspace/gate); tests use a recording fake. Pipeline thread only, except where said.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "bpf/include/penstock/wire.h"
#include "userspace/base/result.h"

namespace penstock::gate {

// A socket as the gate addresses it. `fd_hint` is verified by SO_COOKIE before use; -1: unknown.
struct SocketRef {
  std::uint64_t cookie = 0;
  std::uint32_t tgid = 0;
  int fd_hint = -1;
  std::uint16_t family = 0;
  std::uint16_t local_port = 0;
  std::uint16_t remote_port = 0;
  std::array<std::uint8_t, 16> local_addr{};
  std::array<std::uint8_t, 16> remote_addr{};
  // Not 0: no socket. The process that serves `tgid` over its standard input; held means stopped.
  std::uint32_t stdio_server = 0;
};

// Where it leads. An IPv4 address in IPv6 (::ffff:192.0.2.1) is the IPv4 address: one spelling per endpoint.
inline pn_endpoint_key remote_of(const SocketRef& socket) {
  constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  pn_endpoint_key key{};
  key.port = socket.remote_port;
  key.family = socket.family;
  const auto* address = socket.remote_addr.data();
  if (socket.family == AF_INET6 && std::equal(kMapped.begin(), kMapped.end(), address)) {
    key.family = AF_INET;
    std::copy_n(address + kMapped.size(), 4, key.addr);
  } else {
    std::copy_n(address, sizeof key.addr, key.addr);
  }
  return key;
}

struct HeldConnection {
  struct Gate {
    std::uint64_t pos = 0;  // plaintext bytes bound to the socket so far
    std::uint64_t hold_pos =
        0;  // where the first held write starts; PN_OPAQUE_POS: ciphertext nobody saw the plaintext of
    std::uint64_t closed_boot_ns = 0;
    std::uint64_t deadline_boot_ns = 0;
    std::uint32_t scope = 0;
    bool expired = false;  // on_failure has been applied
  };
  std::uint64_t cookie = 0;
  Gate gate;
  SocketRef socket;
};

// What TCP counts of a connection.
struct WireBytes {
  std::uint64_t sent = 0;  // acknowledged by the peer
  std::uint64_t received = 0;
  bool kernel_tls = false;  // the kernel encrypts
};

// A UDP socket that speaks to port 443 or to an AI endpoint.
struct Datagrams {
  std::uint64_t cookie = 0;
  pn_datagram_val value{};
};

class GateControl {
 public:
  virtual ~GateControl() = default;

  // Lets the connection send up to plaintext position `pos`; `flags` are pn_admit_flags. Does not push.
  virtual base::Result<> admit(std::uint64_t cookie, std::uint64_t pos, std::uint32_t flags) = 0;
  // Makes TCP send now what the gate has let go (without it the kernel's probe timer does, after >= 200 ms); lets a
  // stopped server go on.
  // Not finding the descriptor any more is not an error: returns false.
  virtual base::Result<bool> push(const SocketRef& socket) = 0;
  // Raises the send buffer of a held socket to at least `bytes` (bounded) so that a writer of chunks shows its whole
  // body before the verdict. Returns false when the descriptor was not found.
  virtual base::Result<bool> grow_send_buffer(const SocketRef& socket, std::uint32_t bytes) = 0;
  // Ends one connection now (SOCK_DESTROY): the program's next call fails with ECONNABORTED, the peer gets a reset. A
  // server over pipes is killed: it holds the request already.
  // Returns false when the socket no longer exists.
  virtual base::Result<bool> destroy(const SocketRef& socket) = 0;

  // Scopes and who is in them. Each call bumps pn_ctl.scope_gen.
  virtual base::Result<> set_scope(std::uint32_t scope, const pn_scope_val& value) = 0;
  virtual base::Result<> set_process_scope(std::uint32_t tgid, std::uint32_t scope) = 0;
  virtual base::Result<> clear_process_scope(std::uint32_t tgid) = 0;
  virtual base::Result<> set_cgroup_scope(std::uint64_t cgroup_id, std::uint32_t scope) = 0;
  virtual base::Result<> clear_cgroup_scope(std::uint64_t cgroup_id) = 0;
  virtual base::Result<> add_endpoint(const pn_endpoint_key& endpoint) = 0;

  // Written once per turn of the event loop; `now_boot_ns` from the injected clock.
  virtual void heartbeat(std::uint64_t now_boot_ns) = 0;

  // What the kernel holds and follows right now: used after a restart and after loss.
  virtual std::vector<HeldConnection> held() = 0;
  virtual std::vector<SocketRef> connections() = 0;
  // What a live connection has moved; nullopt: it is gone, or cannot be asked.
  virtual std::optional<WireBytes> wire_bytes(const SocketRef& socket) = 0;
  virtual std::vector<Datagrams> datagrams() = 0;
};

}  // namespace penstock::gate
