#include "userspace/daemon/older_connections.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "userspace/gate/sock_diag.h"
#include "userspace/identity/proc_reader.h"

namespace penstock::daemon {
namespace {

constexpr std::string_view kSocket = "socket:[";

// One process of each network namespace.
std::vector<std::uint32_t> namespaces(const std::vector<std::uint32_t>& pids) {
  std::vector<std::uint32_t> out;
  std::set<std::uint64_t> seen;
  for (const std::uint32_t pid : pids) {
    struct stat st {};
    if (::stat(("/proc/" + std::to_string(pid) + "/ns/net").c_str(), &st) == 0 && seen.insert(st.st_ino).second)
      out.push_back(pid);
  }
  return out;
}

void for_each_socket(std::uint32_t pid, const auto& visit) {
  const auto closer = [](DIR* d) { ::closedir(d); };
  const std::unique_ptr<DIR, decltype(closer)> fds(::opendir(("/proc/" + std::to_string(pid) + "/fd").c_str()));
  if (!fds) return;
  while (const dirent* entry = ::readdir(fds.get())) {
    char target[32];
    const ssize_t n = ::readlinkat(::dirfd(fds.get()), entry->d_name, target, sizeof target);
    const std::string_view text(target, n > 0 ? static_cast<std::size_t>(n) : 0);
    std::uint32_t inode = 0;
    if (text.starts_with(kSocket) &&
        std::from_chars(text.data() + kSocket.size(), text.data() + text.size(), inode).ec == std::errc())
      visit(inode);
  }
}

}  // namespace

std::vector<gate::SocketRef> connections_to(const std::vector<pn_endpoint_key>& addresses) {
  const auto wanted = [&](const pn_endpoint_key& key) {
    return std::any_of(addresses.begin(), addresses.end(),
                       [&](const pn_endpoint_key& a) { return std::memcmp(&a, &key, sizeof key) == 0; });
  };
  std::vector<std::uint32_t> pids = identity::SystemProc().pids();
  std::sort(pids.begin(), pids.end());
  gate::SocketDiagnosis diagnosis;
  std::map<std::uint32_t, gate::SocketRef> found;  // by inode: unique on the host
  for (const std::uint32_t pid : namespaces(pids)) {
    for (const gate::OpenSocket& open : diagnosis.established(pid))
      if (open.inode != 0 && wanted(gate::remote_of(open.socket))) found.emplace(open.inode, open.socket);
  }
  std::vector<gate::SocketRef> out;
  for (auto pid = pids.begin(); pid != pids.end() && !found.empty(); ++pid) {
    for_each_socket(*pid, [&](std::uint32_t inode) {
      const auto it = found.find(inode);
      if (it == found.end()) return;
      it->second.tgid = *pid;
      out.push_back(it->second);
      found.erase(it);
    });
  }
  return out;
}

}  // namespace penstock::daemon
