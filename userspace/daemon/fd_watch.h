// Wakes the event loop when one of some descriptors becomes readable. The loop itself reads them; this thread touches
// none.
#pragma once

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"
#include "userspace/capture/core/event_source.h"

namespace penstock::daemon {

class FdWatch {
 public:
  // `source` and the descriptors outlive the watch.
  static base::Result<std::unique_ptr<FdWatch>> start(const std::vector<int>& fds, capture::EventSource& source);
  ~FdWatch();
  // Something became readable since the last call.
  bool take() { return fired_.exchange(false, std::memory_order_acq_rel); }
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

 private:
  explicit FdWatch(capture::EventSource& source) : source_(source) {}
  void loop();
  capture::EventSource& source_;
  base::Fd epoll_;
  base::Fd stop_;
  std::atomic<bool> fired_{true};
  std::thread thread_;
};

}  // namespace penstock::daemon
