// Which processes serve others over their standard input and output (MCP over pipes): those whose two descriptors are
// pipes or sockets that whoever started them holds the other ends of. Reads /proc; tells the kernel side to follow
// them, for as long as there are any. Pipeline thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>

#include "userspace/capture/kernel.h"

namespace penstock::daemon {

class StdioServers {
 public:
  explicit StdioServers(capture::Kernel& kernel) : kernel_(kernel) {}

  // Ends the servers that a predecessor left stopped: what they have read is known to nobody who could judge it.
  void end_orphans();

  // A process that is under observation was started, or came under observation.
  void consider(std::uint32_t pid);
  void on_exit(std::uint32_t pid) { watched_.erase(pid); }
  // Stops slowing system calls down when nobody has been watched for a while: agents start servers one after another.
  void expire(std::uint64_t now_boot_ns);

 private:
  static constexpr std::uint64_t kIdleNs = 30'000'000'000;

  capture::Kernel& kernel_;
  std::unordered_set<std::uint32_t> watched_;
  std::uint64_t last_watched_ns_ = 0;
  bool attached_ = false;
};

// Who speaks to this process over its standard input: the nearest process above it that has another one itself.
// nullopt: its standard input or output is no pipe, or nobody is there.
std::optional<std::uint32_t> stdio_client(std::uint32_t pid);

}  // namespace penstock::daemon
