// The only writer of the enforcement maps, and the only one that acts on other processes' sockets.
// See core/gate_control.h for the contract. Pipeline thread only; the maps belong to capture::Kernel.
#pragma once

#include <unordered_set>

#include "userspace/capture/core/kernel_maps.h"
#include "userspace/gate/core/gate_control.h"
#include "userspace/gate/peer_socket.h"
#include "userspace/gate/sock_diag.h"

namespace penstock::gate {

class KernelGate final : public GateControl {
 public:
  struct Options {
    std::uint32_t max_send_buffer_bytes = 16U << 20;  // how far grow_send_buffer may go
  };

  KernelGate(const capture::KernelMaps& maps, Options options) : maps_(maps), options_(options) {}

  base::Result<> admit(std::uint64_t cookie, std::uint64_t pos, std::uint32_t flags) override;
  base::Result<bool> push(const SocketRef& socket) override;
  base::Result<bool> grow_send_buffer(const SocketRef& socket, std::uint32_t bytes) override;
  base::Result<bool> destroy(const SocketRef& socket) override;
  base::Result<> set_scope(std::uint32_t scope, const pn_scope_val& value) override;
  base::Result<> set_process_scope(std::uint32_t tgid, std::uint32_t scope) override;
  base::Result<> clear_process_scope(std::uint32_t tgid) override;
  base::Result<> set_cgroup_scope(std::uint64_t cgroup_id, std::uint32_t scope) override;
  base::Result<> clear_cgroup_scope(std::uint64_t cgroup_id) override;
  base::Result<> add_endpoint(const pn_endpoint_key& endpoint) override;
  void heartbeat(std::uint64_t now_boot_ns) override;
  // Some scope judges or has orders: requests may wait for us.
  bool gating() const { return __atomic_load_n(&maps_.control->gating, __ATOMIC_RELAXED) != 0; }
  std::vector<HeldConnection> held() override;
  std::vector<SocketRef> connections() override;
  std::optional<WireBytes> wire_bytes(const SocketRef& socket) override;
  std::vector<Datagrams> datagrams() override;
  std::vector<OpenSocket> established(std::uint32_t tgid) { return diagnosis_.established(tgid); }

 private:
  void scopes_changed();
  base::Result<bool> signal_server(const SocketRef& socket, int signal);
  base::Result<> refresh_gating();

  capture::KernelMaps maps_;
  Options options_;
  PeerSockets sockets_;
  SocketDiagnosis diagnosis_;
  std::unordered_set<std::uint64_t> grown_;  // cookies whose send buffer was raised
};

}  // namespace penstock::gate
