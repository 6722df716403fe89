// Keeps TLS runtimes probed: asks discovery which images hold one and has the kernel side attach to them.
// Pipeline thread only; analysis runs on discovery's workers.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "userspace/base/clock.h"
#include "userspace/capture/kernel.h"
#include "userspace/discovery/discovery.h"
#include "userspace/discovery/mmap_watch.h"

namespace penstock::daemon {

class Probes {
 public:
  // `excluded`: globs of paths that are never probed.
  Probes(capture::Kernel& kernel, const base::Clock& clock, const std::string& cache_path,
         std::vector<std::string> excluded);

  // Everything that runs now, what is likely to be mapped later, and the configured `images`.
  void start(const std::vector<std::string>& images);
  // A program that is about to be executed.
  void look_ahead(const std::string& path) { attach(discovery_.on_file(path)); }
  // Results of workers, library loads, what became of images. Each turn of the event loop; returns whether anything was
  // new.
  void poll();
  void on_fork(std::uint32_t pid);
  void on_exec(std::uint32_t pid);
  void on_exit(std::uint32_t pid);

  // Descriptors that turn readable when poll() has something to do.
  std::vector<int> fds() const;

  struct Stats {
    std::uint64_t attached = 0, detached = 0, failed = 0, mmap_lost = 0;
    discovery::Stats discovery;
  };
  Stats stats() const;
  const discovery::Discovery& discovery() const { return discovery_; }
  // Why an image could not be probed; empty: it was, or there was nothing to probe.
  std::string failure(std::uint64_t image) const;
  // Images still being looked at: processes that use them are not covered yet.
  std::uint64_t pending() const { return discovery_.stats().pending; }

 private:
  void attach(std::vector<discovery::ImageFound> found);
  void attach(const discovery::ImageFound& image);
  void detach_gone();
  bool excluded(const std::string& path) const;

  capture::Kernel& kernel_;
  const base::Clock& clock_;
  const std::vector<std::string> excluded_;
  discovery::Discovery discovery_;
  std::optional<discovery::MmapWatch> mmaps_;
  // By image id; bounded by discovery.
  std::map<std::uint64_t, std::string> failures_;
  std::map<std::uint64_t, capture::Image> probed_;
  std::uint64_t next_idle_check_ns_ = 0;
  std::uint64_t attached_ = 0;
  std::uint64_t detached_ = 0;
  std::uint64_t failed_ = 0;
  std::uint64_t mmap_lost_ = 0;
};

}  // namespace penstock::daemon
