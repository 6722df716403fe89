#include "userspace/daemon/probes.h"

#include <fnmatch.h>

#include <algorithm>
#include <utility>

#include "userspace/base/log.h"
#include "userspace/locators/core/locator.h"

namespace penstock::daemon {
namespace {

constexpr std::uint64_t kIdleCheckNs = 60'000'000'000;

discovery::Options options_of(const std::string& cache_path) {
  discovery::Options options;
  options.cache_path = cache_path;
  return options;
}

}  // namespace

Probes::Probes(capture::Kernel& kernel, const base::Clock& clock, const std::string& cache_path,
               std::vector<std::string> excluded)
    : kernel_(kernel),
      clock_(clock),
      excluded_(std::move(excluded)),
      discovery_(options_of(cache_path), locators::registry(), clock) {
  if (auto watch = discovery::MmapWatch::open()) {
    mmaps_ = std::move(watch).value();
  } else {
    // Exec still tells; what a process loads later is found with its first look.
    base::log_warning("mmap_watch unavailable error=\"{}\" effect=\"libraries loaded late are covered late\"",
                      watch.error().message());
  }
}

void Probes::start(const std::vector<std::string>& images) {
  for (const std::string& path : images) look_ahead(path);
  attach(discovery_.preattach());
  attach(discovery_.scan_all());
}

void Probes::detach_gone() {
  for (const std::uint64_t id : discovery_.take_gone()) {
    failures_.erase(id);
    const auto it = probed_.find(id);
    if (it == probed_.end()) continue;
    kernel_.detach(it->second);
    ++detached_;
    base::log_debug("detached dev={} ino={}", it->second.dev, it->second.ino);
    probed_.erase(it);
  }
}

void Probes::attach(std::vector<discovery::ImageFound> found) {
  detach_gone();  // first: what was rewritten is gone and found under the same inode
  for (const discovery::ImageFound& image : found) attach(image);
}

void Probes::attach(const discovery::ImageFound& image) {
  if (excluded(image.path)) {
    failures_[image.id] = "excluded by the configuration";
    return;
  }
  for (const locators::AttachPlan& plan : image.analysis.plans) {
    const capture::Image target{image.attach_path, image.device, image.inode};
    if (auto done = kernel_.attach(target, plan); !done) {
      ++failed_;
      failures_[image.id] = done.error().message();
      base::log_warning("attach failed image={} runtime={} error=\"{}\"", image.path, plan.runtime,
                        done.error().message());
    } else {
      ++attached_;
      probed_.insert_or_assign(image.id, capture::Image{{}, image.device, image.inode});
      base::log_debug("attached image={} runtime={}", image.path, plan.runtime);
    }
  }
}

bool Probes::excluded(const std::string& path) const {
  return std::any_of(excluded_.begin(), excluded_.end(),
                     [&path](const std::string& glob) { return ::fnmatch(glob.c_str(), path.c_str(), 0) == 0; });
}

void Probes::poll() {
  if (mmaps_) {
    std::vector<discovery::MmapWatch::Event> events;
    mmaps_->drain([&events](const discovery::MmapWatch::Event& event) { events.push_back(event); });
    for (const auto& event : events) attach(discovery_.on_mmap(event.pid, event.begin, event.end));
    if (const std::uint64_t lost = mmaps_->take_lost(); lost > 0) {
      mmap_lost_ += lost;
      attach(discovery_.scan_all());
    }
  }
  attach(discovery_.take_ready());
  if (const std::uint64_t now = clock_.boot_ns(); now >= next_idle_check_ns_) {
    next_idle_check_ns_ = now + kIdleCheckNs;
    discovery_.drop_idle();
    detach_gone();
  }
}

void Probes::on_fork(std::uint32_t pid) { attach(discovery_.on_process(pid)); }
void Probes::on_exec(std::uint32_t pid) { attach(discovery_.on_exec(pid)); }
void Probes::on_exit(std::uint32_t pid) { discovery_.on_exit(pid); }

std::vector<int> Probes::fds() const {
  std::vector<int> out{discovery_.ready_fd()};
  if (mmaps_) out.push_back(mmaps_->fd());
  return out;
}

std::string Probes::failure(std::uint64_t image) const {
  const auto it = failures_.find(image);
  return it == failures_.end() ? std::string() : it->second;
}

Probes::Stats Probes::stats() const { return {attached_, detached_, failed_, mmap_lost_, discovery_.stats()}; }

}  // namespace penstock::daemon
