// Running penstockd from the command line: the embedded daemon of `run`, and the checks that need no running daemon.
// What this file expects of penstockd:
//   penstockd --ephemeral --socket PATH   serves until its standard input ends and no run is left; no TCP listener
//   penstockd --doctor                    prints a DoctorReport as JSON; exit code 0
//   penstockd --check-policy FILE         prints a PolicyReport as JSON; exit code 0, 2 when it is not valid
// On failure it prints one line and a hint to stderr and exits with a documented code.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "userspace/api/client.h"
#include "userspace/base/fd.h"
#include "userspace/base/result.h"

namespace penstock::cli {

// penstockd beside this binary, else the one of PATH.
base::Result<std::string> daemon_binary();

// Runs penstockd with `args` to its end; its stdout. Its own message and exit code become the Error.
base::Result<std::string> daemon_output(const std::vector<std::string>& args, int* exit_code = nullptr);

// A daemon that lives as long as this object (and as long as runs of others use it).
class EmbeddedDaemon {
 public:
  // Waits until it is ready. Its log is kept in a file that is removed when all went well.
  static base::Result<std::unique_ptr<EmbeddedDaemon>> start(const std::string& socket);
  // Lets it go and waits for its end, unless other runs keep it.
  ~EmbeddedDaemon();
  const std::string& log() const { return log_; }
  bool alive();
  void keep_log() { keep_log_ = true; }

 private:
  EmbeddedDaemon(pid_t pid, base::Fd pidfd, base::Fd life, std::string log);
  pid_t pid_;
  base::Fd pidfd_;
  base::Fd life_;  // its standard input: closing it tells it to end
  std::string log_;
  bool reaped_ = false, keep_log_ = false;
};

}  // namespace penstock::cli
