// Puts a bounded queue and a thread between the pipeline and an exporter that does input or output.
// on_exchange never blocks: when the queue is full the exchange is dropped and counted. Destruction writes what is
// queued.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "exporters/core/exporter.h"

namespace penstock::exporters {

class QueuedExporter final : public Exporter {
 public:
  // `format` makes what is queued, on the pipeline thread, so that no exchange is copied; `write` takes a batch on the
  // queue's thread and returns how many of it were lost.
  using Format = std::function<std::string(const model::Exchange&)>;
  using Write = std::function<std::size_t(const std::vector<std::string>&)>;
  QueuedExporter(std::size_t max_bytes, Format format, Write write);
  ~QueuedExporter() override;
  void on_exchange(const model::Exchange& exchange) override;
  std::uint64_t dropped() const override { return dropped_.load(std::memory_order_relaxed); }

 private:
  void run();
  const std::size_t max_bytes_;
  const Format format_;
  const Write write_;
  std::atomic<std::uint64_t> dropped_{0};
  std::mutex mutex_;
  std::condition_variable filled_;
  std::vector<std::string> queue_;
  std::size_t bytes_ = 0;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace penstock::exporters
