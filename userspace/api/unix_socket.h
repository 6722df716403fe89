// The daemon's unix socket: created complete (mode, owner, listening) beside its place and renamed into it, so that no
// client ever meets a half-made one. Removed on destruction if it is still ours.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"

namespace penstock::api {

class UnixListener {
 public:
  // A socket file nobody answers on is replaced; when somebody answers: kUnavailable. `group`: see Server::Options.
  static base::Result<UnixListener> open(const std::string& path, const std::string& group, int backlog);
  UnixListener(UnixListener&& other) noexcept;
  UnixListener& operator=(UnixListener&&) = delete;
  ~UnixListener();
  int fd() const { return fd_.get(); }
  gid_t group() const { return group_; }

 private:
  UnixListener(std::string path, base::Fd fd, gid_t group, dev_t device, ino_t inode);
  std::string path_;
  base::Fd fd_;
  gid_t group_;
  dev_t device_;
  ino_t inode_;
};

// Whether a peer of this connection may use the control API: root, this process's user, or a member of `group`.
// Membership is that of the moment it connected (SO_PEERCRED, SO_PEERGROUPS).
struct PeerCheck {
  bool allowed = false;
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};
PeerCheck check_peer(int connection, gid_t group);

}  // namespace penstock::api
