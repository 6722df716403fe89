#include "userspace/gate/sock_diag.h"

#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>

namespace penstock::gate {
namespace {

constexpr std::uint32_t kEstablished = 1U << 1, kCloseWait = 1U << 8;  // states, include/net/tcp_states.h
constexpr std::size_t kDumpBytes = 32768;
constexpr std::size_t kMaxDumped = 262144;

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

Request request_for(const SocketRef& socket, std::uint16_t type, std::uint16_t flags) {
  Request request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = type;
  request.header.nlmsg_flags = flags;
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
  return request;
}

// The attributes behind an answer about one socket.
WireBytes read_attributes(const std::uint8_t* at, std::size_t left) {
  WireBytes out;
  while (left >= sizeof(nlattr)) {
    nlattr attribute{};
    std::memcpy(&attribute, at, sizeof attribute);
    if (attribute.nla_len < sizeof attribute || attribute.nla_len > left) break;
    const std::uint8_t* value = at + sizeof attribute;
    const std::size_t bytes = attribute.nla_len - sizeof attribute;
    if (attribute.nla_type == INET_DIAG_INFO) {
      tcp_info info{};  // older kernels send less of it
      std::memcpy(&info, value, std::min(bytes, sizeof info));
      out.sent = info.tcpi_bytes_acked;
      out.received = info.tcpi_bytes_received;
    } else if ((attribute.nla_type & NLA_TYPE_MASK) == INET_DIAG_ULP_INFO && bytes > sizeof(nlattr)) {
      const std::string_view name(reinterpret_cast<const char*>(value) + sizeof(nlattr), bytes - sizeof(nlattr));
      out.kernel_tls = name.starts_with("tls");
    }
    const std::size_t step = std::min<std::size_t>(NLA_ALIGN(attribute.nla_len), left);
    at += step;
    left -= step;
  }
  return out;
}

SocketRef socket_of(const inet_diag_msg& message) {
  SocketRef socket;
  socket.family = message.idiag_family;
  socket.local_port = ntohs(message.id.idiag_sport);
  socket.remote_port = ntohs(message.id.idiag_dport);
  std::memcpy(socket.local_addr.data(), message.id.idiag_src, sizeof message.id.idiag_src);
  std::memcpy(socket.remote_addr.data(), message.id.idiag_dst, sizeof message.id.idiag_dst);
  socket.cookie = std::uint64_t{message.id.idiag_cookie[1]} << 32 | message.id.idiag_cookie[0];
  return socket;
}

// One piece of a dump; false: it was the last one.
bool read_dump(const std::uint8_t* at, std::size_t left, std::vector<OpenSocket>& out) {
  constexpr std::size_t kHeader = NLMSG_ALIGN(sizeof(nlmsghdr));
  while (left >= kHeader + sizeof(inet_diag_msg)) {
    nlmsghdr header{};
    std::memcpy(&header, at, sizeof header);
    if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || header.nlmsg_len > left ||
        header.nlmsg_len < kHeader + sizeof(inet_diag_msg))
      return false;
    inet_diag_msg message{};
    std::memcpy(&message, at + kHeader, sizeof message);
    out.push_back({socket_of(message), message.idiag_inode});
    const std::size_t step = std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), left);
    at += step;
    left -= step;
  }
  return left == 0;  // the end of the dump is shorter than a socket
}

}  // namespace

base::Result<int> SocketDiagnosis::netlink_for(std::uint32_t tgid) {
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

base::Result<bool> SocketDiagnosis::destroy(const SocketRef& socket) {
  PN_TRY(const int netlink, netlink_for(socket.tgid));
  Request request = request_for(socket, SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK);
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

std::optional<WireBytes> SocketDiagnosis::wire_bytes(const SocketRef& socket) {
  const auto netlink = netlink_for(socket.tgid);
  if (!netlink) return std::nullopt;
  Request request = request_for(socket, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST);
  request.diag.idiag_ext = 1U << (INET_DIAG_INFO - 1);
  if (send(*netlink, &request, sizeof request, 0) != static_cast<ssize_t>(sizeof request)) return std::nullopt;
  alignas(nlmsghdr) std::array<std::uint8_t, 4096> answer;
  const ssize_t n = recv(*netlink, answer.data(), answer.size(), 0);
  constexpr std::size_t kFixed = NLMSG_ALIGN(sizeof(nlmsghdr)) + NLMSG_ALIGN(sizeof(inet_diag_msg));
  nlmsghdr header{};
  if (n < static_cast<ssize_t>(kFixed)) return std::nullopt;
  std::memcpy(&header, answer.data(), sizeof header);
  if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY) return std::nullopt;
  return read_attributes(answer.data() + kFixed, static_cast<std::size_t>(n) - kFixed);
}

std::vector<OpenSocket> SocketDiagnosis::established(std::uint32_t tgid) {
  std::vector<OpenSocket> out;
  const auto netlink = netlink_for(tgid);
  if (!netlink) return out;
  for (const int family : {AF_INET, AF_INET6}) {
    Request request{};
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.diag.sdiag_family = static_cast<std::uint8_t>(family);
    request.diag.sdiag_protocol = IPPROTO_TCP;
    request.diag.idiag_states = kEstablished | kCloseWait;
    if (send(*netlink, &request, sizeof request, 0) != static_cast<ssize_t>(sizeof request)) continue;
    std::vector<std::uint8_t> answer(kDumpBytes);
    for (bool more = true; more && out.size() < kMaxDumped;) {
      const ssize_t n = recv(*netlink, answer.data(), answer.size(), 0);
      more = n > 0 && read_dump(answer.data(), static_cast<std::size_t>(n), out);
    }
  }
  return out;
}

}  // namespace penstock::gate
