// What /proc says about processes: the seam that tests replace. The facts are a snapshot; a process may be gone, have
// become another program, or have moved to another cgroup a moment later.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "userspace/model/agent.h"

namespace penstock::identity {

struct ProcFacts {
  model::ProcessKey key;
  std::uint32_t parent_pid = 0;
  std::uint32_t session = 0;  // id of the session (setsid); the leader's pid
  bool kernel_thread = false;
  std::string comm;
  std::string exe;                // as the process sees it; empty for kernel threads
  std::vector<std::string> argv;  // cut to kMaxArguments
  std::uint32_t uid = 0;          // effective
  std::string cgroup;             // cgroup2 path from the root of the hierarchy; empty without cgroup2
  std::string container_cgroup;   // path of a v1 hierarchy where that names a container and the v2 path does not
  std::uint64_t cgroup_id = 0;
};

// Start times come from the kernel in nanoseconds and from /proc in ticks of 10 ms: keys are made of whole ticks.
std::uint64_t whole_ticks(std::uint64_t start_boot_ns);

class ProcReader {
 public:
  virtual ~ProcReader() = default;
  virtual std::vector<std::uint32_t> pids() = 0;
  virtual std::optional<ProcFacts> read(std::uint32_t pid) = 0;  // nullopt: gone
  virtual std::string user_name(std::uint32_t uid) = 0;          // its number when it has no name
};

// The running system. Finds the cgroup2 mount in /proc/self/mounts. Not thread-safe.
class SystemProc final : public ProcReader {
 public:
  static constexpr std::size_t kMaxArguments = 64;
  static constexpr std::size_t kMaxArgumentBytes = 4096;

  SystemProc();
  std::vector<std::uint32_t> pids() override;
  std::optional<ProcFacts> read(std::uint32_t pid) override;
  std::string user_name(std::uint32_t uid) override;
  const std::string& cgroup2_mount() const { return cgroup2_mount_; }  // empty when there is none

 private:
  std::string cgroup2_mount_;
  std::vector<std::pair<std::uint32_t, std::string>> users_;  // a handful
};

// The pieces, for tests.
bool parse_stat(std::string_view text, ProcFacts& out);
void parse_cgroup(std::string_view text, ProcFacts& out);
std::string find_cgroup2_mount(std::string_view mounts);

}  // namespace penstock::identity
