// Ends one TCP connection, or asks what it has moved, by netlink (net/ipv4/inet_diag.c): addressed by its 4-tuple and
// cookie, so there is no walk over the socket table and no mistake after the ports were reused. A socket lives in a
// network namespace and can only be addressed from there: one netlink socket is kept per namespace (bounded). Pipeline
// thread only.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <vector>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"
#include "userspace/gate/core/gate_control.h"

namespace penstock::gate {

struct OpenSocket {
  SocketRef socket;
  std::uint32_t inode = 0;  // "socket:[inode]" in /proc/PID/fd
};

class SocketDiagnosis {
 public:
  // False: no such socket any more.
  base::Result<bool> destroy(const SocketRef& socket);
  // Nullopt: no such socket any more, or it could not be asked.
  std::optional<WireBytes> wire_bytes(const SocketRef& socket);
  // Every TCP connection in the network namespace of that process. `tgid` of the sockets is not known.
  std::vector<OpenSocket> established(std::uint32_t tgid);

 private:
  struct Namespace {
    std::uint64_t inode;
    base::Fd netlink;
  };
  static constexpr std::size_t kMaxNamespaces = 64;
  base::Result<int> netlink_for(std::uint32_t tgid);

  std::list<Namespace> namespaces_;  // most recently used first
};

}  // namespace penstock::gate
