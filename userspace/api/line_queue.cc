#include "userspace/api/line_queue.h"

#include <fmt/format.h>

#include <algorithm>

namespace penstock::api {

bool LineQueue::send(std::shared_ptr<const std::string> line) {
  const std::lock_guard lock(mutex_);
  if (closed_ || finished_) return false;
  if (lines_.size() >= max_lines_ || bytes_ + line->size() > max_bytes_) {
    ++dropped_;
    dropped_total_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  notice();
  push(std::move(line));
  wake_reader();
  return true;
}

void LineQueue::finish() {
  const std::lock_guard lock(mutex_);
  if (closed_ || finished_) return;
  notice();
  finished_ = true;
  wake_reader();
}

bool LineQueue::open() const {
  const std::lock_guard lock(mutex_);
  return !closed_ && !finished_;
}

long LineQueue::take(char* out, std::size_t size, const std::function<void()>& sleep) {
  const std::lock_guard lock(mutex_);
  if (closed_) return -1;
  if (lines_.empty()) notice();
  std::size_t filled = 0;
  while (!lines_.empty() && filled < size) {
    const std::string& line = *lines_.front();
    const std::size_t part = std::min(line.size() - offset_, size - filled);
    line.copy(out + filled, part, offset_);
    filled += part;
    offset_ += part;
    bytes_ -= part;
    if (offset_ < line.size()) break;
    lines_.pop_front();
    offset_ = 0;
  }
  if (filled > 0) return static_cast<long>(filled);
  if (finished_) return -1;
  sleeping_ = true;
  sleep();
  return 0;
}

void LineQueue::set_wake(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
}

void LineQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  lines_.clear();
  bytes_ = offset_ = 0;
  wake_reader();
}

void LineQueue::push(std::shared_ptr<const std::string> line) {
  bytes_ += line->size();
  lines_.push_back(std::move(line));
}

void LineQueue::notice() {
  if (dropped_ == 0) return;
  push(std::make_shared<const std::string>(fmt::format("{{\"dropped\":{}}}\n", dropped_)));
  dropped_ = 0;
}

void LineQueue::wake_reader() {
  if (!sleeping_ || !wake_) return;
  sleeping_ = false;
  wake_();
}

}  // namespace penstock::api
