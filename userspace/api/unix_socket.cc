#include "userspace/api/unix_socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

namespace penstock::api {
namespace {

using base::Error;
using base::ErrorCode;
using base::Fd;

constexpr mode_t kMode = 0660;

base::Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path))
    return Error{
        ErrorCode::kUsage, 0,
        fmt::format("socket path \"{}\" has no or too many characters (limit {})", path, sizeof(address.sun_path) - 1),
        "choose a shorter path with --socket"};
  path.copy(address.sun_path, path.size());
  return address;
}

base::Result<gid_t> group_of(const std::string& name) {
  if (name.empty()) return ::getegid();
  group entry{};
  group* found = nullptr;
  std::vector<char> buffer(1u << 16);
  if (::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
    return found->gr_gid;
  return Error{ErrorCode::kUsage, 0, fmt::format("no group \"{}\" for the control socket", name),
               fmt::format("groupadd --system {}", name)};
}

bool somebody_answers(const sockaddr_un& address) {
  Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
  return errno == EAGAIN;  // its backlog is full: slow, but there
}

}  // namespace

base::Result<UnixListener> UnixListener::open(const std::string& path, const std::string& group, int backlog) {
  PN_TRY(const sockaddr_un address, address_of(path));
  const std::string staging = fmt::format("{}.{}", path, ::getpid());
  PN_TRY(const sockaddr_un staging_address, address_of(staging));
  PN_TRY(const gid_t gid, group_of(group));

  std::error_code ignored;  // an unusable folder is reported by what follows, with its errno
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, ignored);

  // The lock makes "is anybody there?" and taking the place one step for daemons that start at the same time.
  const std::string lock_path = path + ".lock";
  Fd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) {
    const int err = errno;
    Error e = base::errno_error(err, "cannot create the control socket in " + folder.string());
    if (err == EACCES || err == EPERM || err == EROFS) e.code = ErrorCode::kPrivilege;
    e.hint = "run as root, or choose a place you may write to with --socket PATH";
    return e;
  }
  if (::flock(lock.get(), LOCK_EX) != 0) return base::errno_error(errno, "cannot lock " + lock_path);

  struct stat st {};
  if (::lstat(path.c_str(), &st) == 0 && !S_ISSOCK(st.st_mode))
    return Error{ErrorCode::kUsage, 0, path + " exists and is not a socket",
                 "remove it, or choose another --socket PATH"};
  if (somebody_answers(address))
    return Error{ErrorCode::kUnavailable, 0, "another daemon answers on " + path,
                 "`penstock status` shows it; stop it first, or choose another --socket PATH"};

  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return base::errno_error(errno, "cannot create a unix socket");
  ::unlink(staging.c_str());  // left by a process with our pid that died between bind and rename
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&staging_address), sizeof staging_address) != 0)
    return base::errno_error(errno, "cannot bind " + staging);
  const bool made = ::chown(staging.c_str(), static_cast<uid_t>(-1), gid) == 0 &&
                    ::chmod(staging.c_str(), kMode) == 0 && ::listen(fd.get(), backlog) == 0 &&
                    ::stat(staging.c_str(), &st) == 0 && ::rename(staging.c_str(), path.c_str()) == 0;
  if (!made) {
    const int err = errno;
    ::unlink(staging.c_str());
    return base::errno_error(err, "cannot set up the control socket " + path);
  }
  return UnixListener(path, std::move(fd), gid, st.st_dev, st.st_ino);
}

UnixListener::UnixListener(std::string path, Fd fd, gid_t group, dev_t device, ino_t inode)
    : path_(std::move(path)), fd_(std::move(fd)), group_(group), device_(device), inode_(inode) {}

UnixListener::UnixListener(UnixListener&& other) noexcept
    : path_(std::exchange(other.path_, {})),
      fd_(std::move(other.fd_)),
      group_(other.group_),
      device_(other.device_),
      inode_(other.inode_) {}

UnixListener::~UnixListener() {
  struct stat st {};
  if (!path_.empty() && ::lstat(path_.c_str(), &st) == 0 && st.st_dev == device_ && st.st_ino == inode_)
    ::unlink(path_.c_str());
}

PeerCheck check_peer(int connection, gid_t group) {
  PeerCheck out;
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return out;
  out.pid = peer.pid;
  out.uid = peer.uid;
  out.gid = peer.gid;
  out.allowed = peer.uid == 0 || peer.uid == ::geteuid() || peer.gid == group;
  if (out.allowed) return out;
  std::vector<gid_t> groups(64);
  size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  int rc = ::getsockopt(connection, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
  if (rc != 0 && errno == ERANGE) {  // the kernel wrote the size it needs
    groups.resize(size / sizeof(gid_t));
    rc = ::getsockopt(connection, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
  }
  if (rc != 0) return out;
  groups.resize(size / sizeof(gid_t));
  out.allowed = std::find(groups.begin(), groups.end(), group) != groups.end();
  return out;
}

}  // namespace penstock::api
