#include "userspace/gate/sock_destroy.h"

#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <thread>

namespace penstock::gate {
namespace {

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 diag;
};

struct Answer {
  nlmsghdr header;
  nlmsgerr error;
};

// A netlink socket belongs to the namespace of the thread that makes it: a short-lived thread enters the other one, so
// that no other thread ever runs there.
base::Result<base::Fd> open_netlink(const base::Fd& namespace_fd) {
  base::Fd out;
  int err = 0;
  auto make = [&] {
    if (namespace_fd && setns(namespace_fd.get(), CLONE_NEWNET) != 0) {
      err = errno;
      return;
    }
    out = base::Fd(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!out) err = errno;
  };
  if (namespace_fd) {
    std::thread(make).join();
  } else {
    make();
  }
  if (!out) return base::errno_error(err, "open a socket-diagnosis socket");
  const timeval timeout{1, 0};  // the kernel answers at once; a lost answer must not stop the daemon
  setsockopt(out.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  return out;
}

}  // namespace

base::Result<int> SocketDestroyer::netlink_for(std::uint32_t tgid) {
  base::Fd ns(open(("/proc/" + std::to_string(tgid) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st {};
  // The process may be gone while its socket lives on (inherited, or passed): then our own namespace is the best guess.
  if (!ns || fstat(ns.get(), &st) != 0) {
    ns.reset();
    st.st_ino = 0;
  }
  for (auto it = namespaces_.begin(); it != namespaces_.end(); ++it) {
    if (it->inode != st.st_ino) continue;
    namespaces_.splice(namespaces_.begin(), namespaces_, it);
    return namespaces_.front().netlink.get();
  }
  PN_TRY(base::Fd netlink, open_netlink(ns));
  if (namespaces_.size() >= kMaxNamespaces) namespaces_.pop_back();
  namespaces_.push_front({st.st_ino, std::move(netlink)});
  return namespaces_.front().netlink.get();
}

base::Result<bool> SocketDestroyer::destroy(const SocketRef& socket) {
  PN_TRY(const int netlink, netlink_for(socket.tgid));
  Request request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DESTROY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.diag.sdiag_family = static_cast<std::uint8_t>(socket.family);
  request.diag.sdiag_protocol = IPPROTO_TCP;
  request.diag.idiag_states = ~0U;
  inet_diag_sockid& id = request.diag.id;
  id.idiag_sport = htons(socket.local_port);
  id.idiag_dport = htons(socket.remote_port);
  std::memcpy(id.idiag_src, socket.local_addr.data(), sizeof id.idiag_src);
  std::memcpy(id.idiag_dst, socket.remote_addr.data(), sizeof id.idiag_dst);
  id.idiag_cookie[0] = static_cast<std::uint32_t>(socket.cookie);
  id.idiag_cookie[1] = static_cast<std::uint32_t>(socket.cookie >> 32);
  if (send(netlink, &request, sizeof request, 0) != static_cast<ssize_t>(sizeof request))
    return base::errno_error(errno, "ask the kernel to destroy a socket");
  Answer answer{};
  const ssize_t n = recv(netlink, &answer, sizeof answer, 0);
  if (n < static_cast<ssize_t>(sizeof answer) || answer.header.nlmsg_type != NLMSG_ERROR)
    return base::errno_error(n < 0 ? errno : EPROTO, "read the kernel's answer to SOCK_DESTROY");
  const int err = -answer.error.error;
  if (err == 0) return true;
  // ESTALE: the 4-tuple belongs to another socket by now.
  if (err == ENOENT || err == ESTALE || err == ECONNREFUSED) return false;
  return base::errno_error(err, "destroy a socket",
                           err == EOPNOTSUPP ? "the kernel lacks CONFIG_INET_DIAG_DESTROY" : "");
}

}  // namespace penstock::gate
