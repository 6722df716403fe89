// Reader of one BPF ring buffer (kernel/bpf/ringbuf.c): unlike libbpf's callback interface it can be peeked at, which
// merging two rings by time needs. Single consumer; not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "userspace/base/result.h"

namespace penstock::capture {

class Ring {
 public:
  Ring() = default;
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  base::Result<> open(int map_fd);

  enum class State { kEmpty, kBusy, kReady };
  // Looks at the oldest record: kBusy means that it is reserved but still being written.
  // The record stays valid until consume().
  State peek(std::span<const std::uint8_t>& record);
  void consume();

  int fd() const { return fd_; }
  std::uint64_t used_bytes() const;
  std::uint64_t size_bytes() const { return mask_ + 1; }

 private:
  std::span<const std::uint8_t> record_at(std::uint64_t offset, std::uint32_t bytes);

  int fd_ = -1;
  std::uint64_t mask_ = 0;
  std::uint64_t position_ = 0;               // our copy of the consumer position
  std::uint32_t record_bytes_ = 0;           // of the record last peeked at, header and padding included
  unsigned long* consumer_ = nullptr;        // mapped read-write
  const unsigned long* producer_ = nullptr;  // mapped read-only; data follows one page later
  const std::uint8_t* data_ = nullptr;
  std::vector<std::uint8_t> wrapped_;  // the record at wrapped_position_, which reaches around the end
  std::uint64_t wrapped_position_ = ~std::uint64_t{0};
};

}  // namespace penstock::capture
