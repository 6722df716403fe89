// The bounded queue behind one streaming answer. Writers drop when it is full; the reader is told how many lines it
// missed, in their place, by {"dropped":n}. Thread-safe. `wake` is called with the lock held, when the reader sleeps
// and there is something to read: it must not call back.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "userspace/api/control.h"

namespace penstock::api {

class LineQueue final : public LineStream {
 public:
  LineQueue(std::size_t max_lines, std::size_t max_bytes, std::atomic<std::uint64_t>& dropped_total)
      : max_lines_(max_lines), max_bytes_(max_bytes), dropped_total_(dropped_total) {}

  bool send(std::shared_ptr<const std::string> line) override;
  void finish() override;
  bool open() const override;

  // Reader's side. take(): bytes copied into `out`; 0: nothing now, and `sleep` was called under the lock so that no
  // wake-up is lost; -1: the end.
  long take(char* out, std::size_t size, const std::function<void()>& sleep);
  void set_wake(std::function<void()> wake);
  // The client is gone or the server stops: writers see false, the reader the end.
  void close();

 private:
  void push(std::shared_ptr<const std::string> line);
  void notice();  // queues {"dropped":n} when lines were dropped
  void wake_reader();

  const std::size_t max_lines_, max_bytes_;
  std::atomic<std::uint64_t>& dropped_total_;
  mutable std::mutex mutex_;
  std::deque<std::shared_ptr<const std::string>> lines_;
  std::size_t bytes_ = 0;
  std::size_t offset_ = 0;  // of the first line, already read
  std::uint64_t dropped_ = 0;
  bool sleeping_ = false, finished_ = false, closed_ = false;
  std::function<void()> wake_;
};

}  // namespace penstock::api
