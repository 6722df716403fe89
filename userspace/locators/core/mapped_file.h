// A regular file mapped read-only for analysis. The file belongs to someone else, who may truncate it while we read: a
// SIGBUS inside a mapping is answered by zero pages in its place and `damaged()` turns true, instead of the process
// dying. The handler is installed once, on first use, and passes every other SIGBUS on to the handler that was there
// before. Objects may be used from one thread at a time; different objects from different threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "userspace/base/result.h"

namespace penstock::locators {

class MappedFile {
 public:
  static constexpr std::uint64_t kMaxBytes = 4ull << 30;  // larger files are refused, not scanned

  // `fd` is borrowed for the call. An error when it is not a regular file, is empty or too large, or when 64 files are
  // mapped already.
  static base::Result<MappedFile> map(int fd);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::uint8_t> bytes() const { return {data_, size_}; }
  // True when part of the file vanished under us: nothing learnt from it may be kept.
  bool damaged() const;

 private:
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  int slot_ = -1;
};

}  // namespace penstock::locators
