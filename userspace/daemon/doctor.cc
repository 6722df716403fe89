// What works on this machine: looked at, nothing changed. Needs no running daemon.
#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdio>
#include <initializer_list>

#include "userspace/base/atomic_file.h"
#include "userspace/capture/kernel.h"
#include "userspace/daemon/control_api.h"

namespace penstock::daemon {
namespace {

struct Version {
  int major = 0, minor = 0;
  bool at_least(int a, int b) const { return major > a || (major == a && minor >= b); }
};

Version kernel_version() {
  Version version;
  std::sscanf(kernel_release().c_str(), "%d.%d", &version.major, &version.minor);
  return version;
}

class Report {
 public:
  api::DoctorReport out;
  void add(const char* name, const char* status, std::string what, std::string cost = {}, std::string fix = {}) {
    api::DoctorReport::Check& check = *out.add_checks();
    check.set_name(name);
    check.set_status(status);
    check.set_what(std::move(what));
    if (!cost.empty()) check.set_cost(std::move(cost));
    if (!fix.empty()) check.set_fix(std::move(fix));
  }
};

// The nearest folder that exists above a path: what it will be made in.
std::string existing_parent(std::string path) {
  struct stat info {};
  while (path.size() > 1 && ::stat(path.c_str(), &info) != 0)
    path = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
  return path;
}

bool has_capability(unsigned capability) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  return (data[capability / 32].effective >> (capability % 32) & 1U) != 0;
}

}  // namespace

std::string kernel_release() {
  utsname name{};
  return ::uname(&name) == 0 ? name.release : "unknown";
}

api::DoctorReport examine(const std::string& bpffs_dir, const std::string& state_dir) {
  Report report;
  const Version version = kernel_version();
  const bool observe_floor = version.at_least(5, 15), gate_floor = version.at_least(6, 1);
  report.add("kernel",
             gate_floor      ? "ok"
             : observe_floor ? "warning"
                             : "error",
             "Linux " + kernel_release(),
             gate_floor      ? ""
             : observe_floor ? "requests are seen, not held"
                             : "nothing can be seen",
             gate_floor ? "" : "Linux 6.1 or newer");
  struct Needed {
    unsigned number;
    const char* name;
  };
  std::string missing;
  for (const Needed& cap :
       {Needed{CAP_BPF, "CAP_BPF"}, Needed{CAP_PERFMON, "CAP_PERFMON"}, Needed{CAP_NET_ADMIN, "CAP_NET_ADMIN"},
        Needed{CAP_SYS_PTRACE, "CAP_SYS_PTRACE"}, Needed{CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"}}) {
    if (!has_capability(cap.number)) missing += std::string(missing.empty() ? "" : ", ") + cap.name;
  }
  const bool privileged = missing.empty();
  report.add("privileges", privileged ? "ok" : "error",
             privileged ? "all capabilities are there" : "missing: " + missing,
             privileged ? "" : "programs cannot be loaded, sockets of others cannot be reached",
             privileged ? "" : "run as root");
  struct stat info {};
  const bool btf = ::stat("/sys/kernel/btf/vmlinux", &info) == 0;
  report.add("btf", btf ? "ok" : "error", btf ? "/sys/kernel/btf/vmlinux" : "the kernel has no BTF",
             btf ? "" : "programs cannot be loaded", btf ? "" : "a kernel built with CONFIG_DEBUG_INFO_BTF=y");
  const auto cgroup2 = capture::find_cgroup2();
  report.add("cgroup2", cgroup2 ? "ok" : "error", cgroup2 ? *cgroup2 : "cgroup2 is not mounted",
             cgroup2 ? "" : "nothing can be held", cgroup2 ? "" : "mount -t cgroup2 none /sys/fs/cgroup");
  struct statfs fs {};
  const std::string pin_parent = existing_parent(bpffs_dir);
  const bool bpffs = ::statfs(pin_parent.c_str(), &fs) == 0 && static_cast<unsigned long>(fs.f_type) == BPF_FS_MAGIC;
  report.add("bpffs", bpffs ? "ok" : "error", bpffs ? bpffs_dir : pin_parent + " is no bpffs",
             bpffs ? "" : "enforcement cannot outlive the daemon", bpffs ? "" : "mount -t bpf bpf /sys/fs/bpf");
  const bool multi = version.at_least(6, 6);
  report.add("uprobe_multi", multi ? "ok" : "warning", multi ? "supported" : "not supported",
             multi ? "" : "one file descriptor for each probe, and CAP_SYS_ADMIN", multi ? "" : "Linux 6.6 or newer");
  const auto paranoid = base::read_small_file("/proc/sys/kernel/perf_event_paranoid");
  const bool perf = privileged || (paranoid && std::atoi(paranoid->c_str()) <= 0);
  report.add("late_libraries", perf ? "ok" : "warning",
             perf ? "mappings are followed by perf" : "perf is not permitted",
             perf ? "" : "libraries that a process loads later are found late", perf ? "" : "CAP_PERFMON");
  const std::string state_parent = existing_parent(state_dir);
  const bool state = ::access(state_parent.c_str(), W_OK) == 0;
  report.add("state", state ? "ok" : "error", state ? state_dir : state_parent + " cannot be written",
             state ? "" : "budgets and kill switches would not survive a restart",
             state ? "" : "choose another --state-dir");
  report.out.set_can_observe(observe_floor && privileged && btf && cgroup2.has_value() && bpffs);
  report.out.set_can_enforce(report.out.can_observe() && gate_floor);
  return report.out;
}

}  // namespace penstock::daemon
