#include "exporters/core/queued_exporter.h"

namespace penstock::exporters {

QueuedExporter::QueuedExporter(std::size_t max_bytes, Format format, Write write)
    : max_bytes_(max_bytes), format_(std::move(format)), write_(std::move(write)), thread_([this] { run(); }) {}

QueuedExporter::~QueuedExporter() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  filled_.notify_one();
  thread_.join();
}

void QueuedExporter::on_exchange(const model::Exchange& exchange) {
  std::string item = format_(exchange);
  {
    const std::lock_guard lock(mutex_);
    if (bytes_ + item.size() > max_bytes_) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    bytes_ += item.size();
    queue_.push_back(std::move(item));
  }
  filled_.notify_one();
}

void QueuedExporter::run() {
  std::vector<std::string> batch;
  std::unique_lock lock(mutex_);
  while (true) {
    filled_.wait(lock, [&] { return stop_ || !queue_.empty(); });
    if (queue_.empty()) return;
    batch.clear();
    batch.swap(queue_);
    bytes_ = 0;
    lock.unlock();
    dropped_.fetch_add(write_(batch), std::memory_order_relaxed);
    lock.lock();
  }
}

}  // namespace penstock::exporters
