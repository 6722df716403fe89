// Executable file mappings of every process as they happen, from perf's MMAP2 side-band records: no BPF program, no
// cost for processes that map nothing. One ring per CPU; what the rings lose is counted, and the owner then scans all
// processes. Owned by one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"

namespace penstock::discovery {

class MmapWatch {
 public:
  struct Event {
    std::uint32_t pid;
    std::uint64_t begin;
    std::uint64_t end;
  };

  // Needs CAP_PERFMON (or CAP_SYS_ADMIN before 5.8).
  static base::Result<MmapWatch> open();
  MmapWatch(MmapWatch&&) noexcept;
  MmapWatch& operator=(MmapWatch&&) noexcept;
  ~MmapWatch();

  // Readable when there are events (an epoll descriptor over all CPUs).
  int fd() const { return poll_.get(); }
  void drain(const std::function<void(const Event&)>&);
  // Records lost since the last call.
  std::uint64_t take_lost();

 private:
  struct Ring {
    base::Fd fd;
    void* memory = nullptr;
    std::size_t bytes = 0;
  };
  MmapWatch() = default;
  void drain(Ring&, const std::function<void(const Event&)>&);
  base::Fd poll_;
  std::vector<Ring> rings_;
  std::uint64_t lost_ = 0;
};

}  // namespace penstock::discovery
