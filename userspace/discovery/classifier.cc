#include "userspace/discovery/classifier.h"

#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "userspace/base/log.h"
#include "userspace/locators/core/mapped_file.h"

namespace penstock::discovery {

// Shared with the workers, which may outlive the Classifier when they hang.
struct Classifier::State {
  struct Job {
    FileStamp stamp;
    std::shared_ptr<const base::Fd> file;
  };
  State(std::span<const locators::Locator* const> l, std::shared_ptr<PlanCache> c) : locators(l), cache(std::move(c)) {}
  const std::span<const locators::Locator* const> locators;
  const std::shared_ptr<PlanCache> cache;
  base::Fd ready{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Job> jobs;
  std::vector<ScanResult> results;
  std::uint64_t generation = 0;     // of the worker that is believed in
  std::uint64_t busy_since_ns = 0;  // 0: idle
  bool stop = false;
  std::thread worker;
};

namespace {

ScanResult scan(const FileStamp& stamp, std::shared_ptr<const base::Fd> file,
                std::span<const locators::Locator* const> locators, PlanCache& cache) {
  ScanResult out{stamp, file, {}, false, false, {}};
  auto mapped = locators::MappedFile::map(file->get());
  if (!mapped) {
    out.error = mapped.error().what;
    return out;
  }
  auto image = locators::ElfImage::parse(mapped->bytes());
  if (!image) {
    out.error = image.error().what;
    return out;
  }
  const ContentKey content = cache.content_key(mapped->bytes());
  if (auto known = cache.find(content)) {
    out.analysis = std::move(*known);
    out.from_content = true;
  } else {
    out.analysis = locators::analyze(*image, locators);
  }
  struct stat st {};
  out.changed = mapped->damaged() || fstat(file->get(), &st) != 0 || stamp_of(st) != stamp;
  if (!out.changed) cache.put(stamp, content, out.analysis);
  return out;
}

}  // namespace

Classifier::Classifier(std::span<const locators::Locator* const> locators, std::shared_ptr<PlanCache> cache,
                       const base::Clock& clock)
    : state_(std::make_shared<State>(locators, std::move(cache))), clock_(clock) {
  start_worker();
}

Classifier::~Classifier() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
    state_->jobs.clear();
  }
  state_->wake.notify_all();
  state_->worker.join();
}

void Classifier::start_worker() {
  const std::uint64_t generation = state_->generation;
  state_->worker = std::thread([state = state_, generation, &clock = clock_] {
    // Behind everything else on this machine: agents must not notice that we read their programs.
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 10);
    std::unique_lock lock(state->mutex);
    for (;;) {
      if (state->jobs.empty() && !state->stop) {
        lock.unlock();
        if (auto saved = state->cache->save(); !saved)
          base::log_warning("event=plan_cache_not_saved reason=\"{}\"", saved.error().message());
        lock.lock();
      }
      state->wake.wait(lock, [&] { return state->stop || !state->jobs.empty(); });
      if (state->stop) return;
      State::Job job = std::move(state->jobs.front());
      state->jobs.pop_front();
      state->busy_since_ns = clock.boot_ns();
      lock.unlock();
      ScanResult result = scan(job.stamp, std::move(job.file), state->locators, *state->cache);
      lock.lock();
      if (state->generation != generation) return;  // given up: another worker does the rest
      state->busy_since_ns = 0;
      state->results.push_back(std::move(result));
      const std::uint64_t one = 1;
      static_cast<void>(!write(state->ready.get(), &one, sizeof(one)));  // the counter cannot overflow in practice
    }
  });
}

bool Classifier::submit(const FileStamp& stamp, std::shared_ptr<const base::Fd> file) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->jobs.size() >= kMaxQueue) return false;
    state_->jobs.push_back({stamp, std::move(file)});
  }
  state_->wake.notify_one();
  return true;
}

int Classifier::ready_fd() const { return state_->ready.get(); }

std::vector<ScanResult> Classifier::take() {
  std::uint64_t count = 0;
  static_cast<void>(!read(state_->ready.get(), &count, sizeof(count)));
  const std::lock_guard lock(state_->mutex);
  return std::exchange(state_->results, {});
}

int Classifier::replace_stalled() {
  const std::lock_guard lock(state_->mutex);
  const bool stuck = state_->busy_since_ns != 0 && clock_.boot_ns() - state_->busy_since_ns > kStallNs;
  if (!stuck || stalled_ >= kMaxStalled) return stalled_;
  ++stalled_;
  ++state_->generation;
  state_->busy_since_ns = 0;
  state_->worker.detach();
  start_worker();
  return stalled_;
}

std::size_t Classifier::pending() const {
  const std::lock_guard lock(state_->mutex);
  return state_->jobs.size() + (state_->busy_since_ns != 0 ? 1 : 0);
}

}  // namespace penstock::discovery
