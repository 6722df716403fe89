#include "userspace/daemon/fd_watch.h"

#include <cerrno>
#include <cstdint>

namespace penstock::daemon {

base::Result<std::unique_ptr<FdWatch>> FdWatch::start(const std::vector<int>& fds, capture::EventSource& source) {
  std::unique_ptr<FdWatch> watch(new FdWatch(source));
  watch->epoll_ = base::Fd(::epoll_create1(EPOLL_CLOEXEC));
  watch->stop_ = base::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!watch->epoll_ || !watch->stop_) return base::errno_error(errno, "watch descriptors");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = watch->stop_.get();
  if (::epoll_ctl(watch->epoll_.get(), EPOLL_CTL_ADD, watch->stop_.get(), &event) != 0)
    return base::errno_error(errno, "watch descriptors");
  for (const int fd : fds) {
    // Edge-triggered: one wake-up each time something new arrives, also while the loop has not read it yet.
    event.events = EPOLLIN | EPOLLET;
    event.data.fd = fd;
    if (::epoll_ctl(watch->epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
      return base::errno_error(errno, "watch descriptors");
  }
  watch->thread_ = std::thread([raw = watch.get()] { raw->loop(); });
  return watch;
}

void FdWatch::loop() {
  for (;;) {
    epoll_event event{};
    const int n = ::epoll_wait(epoll_.get(), &event, 1, -1);
    if (n < 0 && errno != EINTR) return;
    if (n <= 0) continue;
    if (event.data.fd == stop_.get()) return;
    fired_.store(true, std::memory_order_release);
    source_.wake();
  }
}

FdWatch::~FdWatch() {
  const std::uint64_t one = 1;
  if (stop_) [[maybe_unused]]
    const auto written = ::write(stop_.get(), &one, sizeof one);
  if (thread_.joinable()) thread_.join();
}

}  // namespace penstock::daemon
