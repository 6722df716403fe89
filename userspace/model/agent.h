// Who is behind a request. Processes are keyed by (pid, start time): pids are reused.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>

namespace penstock::model {

struct ProcessKey {
  std::uint32_t pid = 0;            // thread-group id in the host's pid namespace
  std::uint64_t start_boot_ns = 0;  // /proc/PID/stat field 22, in nanoseconds since boot
  auto operator<=>(const ProcessKey&) const = default;
};

// The subject policies match on: attributes are empty when unknown.
struct Subject {
  std::string agent;   // the most stable name known: workload/container, unit, or exe[:script]
  std::string run;     // one process tree: "<agent>/<pid of its root>-<start>" or the id given by `penstock run`
  std::string exe;     // absolute path of the executable
  std::string user;    // name of the effective user, or its number
  std::string cgroup;  // cgroup2 path from the root of the hierarchy
  std::string unit;    // systemd unit
  std::string ns;      // Kubernetes namespace
  std::string pod;
  std::string container;
  std::map<std::string, std::string> labels;
  ProcessKey process;
  ProcessKey run_root;
  std::uint64_t cgroup_id = 0;
  std::uint32_t scope_id = 0;  // enforcement scope in the kernel maps; 0 is the default scope
};

}  // namespace penstock::model
