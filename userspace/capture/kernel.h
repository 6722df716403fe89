// The programs and maps in the kernel: loading, attaching, pinning, upgrading in place.
//
// Everything is pinned below `bpffs_dir`, so that enforcement outlives the process. A later process loads its own
// programs over the same maps, attaches them while they are still inert (pn_ctl.epoch is not theirs), flips the epoch
// with one store in activate() and only then detaches its predecessor's: there is no moment without a program and none
// with two that act.
//
// Pipeline thread only. Fails with: not root or a missing capability (kPrivilege); no BTF, no bpffs, no cgroup2, a
// program refused by the kernel (kUnsupported); pins of another PN_WIRE_VERSION (kUnsupported, with a hint).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "userspace/base/result.h"
#include "userspace/capture/core/event_source.h"
#include "userspace/capture/core/kernel_counters.h"
#include "userspace/capture/core/kernel_maps.h"
#include "userspace/locators/core/attach_plan.h"

namespace penstock::capture {

struct KernelOptions {
  std::string bpffs_dir = "/sys/fs/bpf/penstock";  // on a bpffs; created 0700
  std::uint32_t events_ring_bytes = 16U << 20;     // powers of two, >= one page
  std::uint32_t verdicts_ring_bytes = 16U << 20;
  std::uint64_t dead_after_ns = 2'000'000'000;  // a heartbeat older than this: the daemon is away
};

// One executable image to probe; `path` is resolved once, at attach time.
struct Image {
  std::string path;
  std::uint64_t dev = 0;
  std::uint64_t ino = 0;
};

class Kernel final : public KernelCounters {
 public:
  static base::Result<std::unique_ptr<Kernel>> load(const KernelOptions& options);
  // Detaches nothing: what is pinned stays in force.
  ~Kernel() override;
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  // Probes every site of the plan in this image, for all processes, present and future. Idempotent per image and
  // runtime: an image may hold several.
  base::Result<> attach(const Image& image, const locators::AttachPlan& plan);
  // Takes the probes of an image away, with its rows of the probe table; nothing happens when it has none.
  void detach(const Image& image);
  std::size_t attached_images() const;

  // Follows what this process reads from its standard input and writes to its standard output; `client_tgid` speaks to
  // it. Until unwatch_stdio(), every system call of the host is a little slower. Ends by itself with the process.
  base::Result<> watch_stdio(std::uint32_t server_tgid, std::uint32_t client_tgid);
  void unwatch_stdio();
  // Watched now, or by a predecessor.
  std::vector<std::uint32_t> stdio_servers() const;

  // From now on our programs act and those of a predecessor do not.
  base::Result<> activate();
  // True if a predecessor's maps were taken over: its gates, scopes and streams are in force.
  bool resumed() const;

  KernelMaps maps() const;
  EventSource& events();
  // How full the fuller of the rings is. Cheap: no system call.
  std::uint32_t backlog_permille() const;
  KernelSnapshot read_counters() override;

  // Ends all enforcement and observation and removes the pins: for an ephemeral daemon.
  void unload();

 private:
  struct Impl;
  explicit Kernel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Where cgroup2 is mounted (hybrid hierarchies mount it anywhere), from /proc/self/mounts.
base::Result<std::string> find_cgroup2();

}  // namespace penstock::capture
