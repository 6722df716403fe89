// Connections to these addresses that exist, and whoever holds them, in every network namespace of the host. Reads
// /proc and asks the kernel for its sockets: takes its time, and may run on any thread. What several processes hold is
// the one's with the lowest pid. Nothing is said of a socket that no process holds.
#pragma once

#include <vector>

#include "bpf/include/penstock/wire.h"
#include "userspace/gate/core/gate_control.h"

namespace penstock::daemon {

std::vector<gate::SocketRef> connections_to(const std::vector<pn_endpoint_key>& addresses);

}  // namespace penstock::daemon
