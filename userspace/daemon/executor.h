// Work that other threads hand to the event loop: API commands, answers of helper threads.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "userspace/capture/core/event_source.h"

namespace penstock::daemon {

class Executor {
 public:
  // `source` is woken by every post and outlives the executor.
  explicit Executor(capture::EventSource& source) : source_(source) {}

  // Thread-safe. After close() the work is dropped.
  void post(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return;
      queue_.push_back(std::move(work));
    }
    source_.wake();
  }

  // The event loop's thread. Work posted by the work itself waits for the next turn.
  void run_pending() {
    {
      const std::lock_guard lock(mutex_);
      running_.swap(queue_);
    }
    for (auto& work : running_) work();
    running_.clear();
  }

  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    queue_.clear();
  }

 private:
  capture::EventSource& source_;
  std::mutex mutex_;
  std::vector<std::function<void()>> queue_;
  std::vector<std::function<void()>> running_;
  bool closed_ = false;
};

}  // namespace penstock::daemon
