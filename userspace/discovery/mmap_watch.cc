#include "userspace/discovery/mmap_watch.h"

#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

namespace penstock::discovery {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kRingBytes = 64 * kPage;  // a burst of some 2,000 mappings per CPU

// The part of PERF_RECORD_MMAP2 that is read; the file name follows and is not believed.
struct Mmap2 {
  perf_event_header header;
  std::uint32_t pid, tid;
  std::uint64_t address, length, page_offset;
  std::uint32_t major, minor;
  std::uint64_t inode, generation;
  std::uint32_t protection, flags;
};
static_assert(sizeof(Mmap2) == 72);

struct Lost {
  perf_event_header header;
  std::uint64_t id, lost;
};

void copy_out(const std::uint8_t* ring, std::uint64_t at, void* out, std::size_t bytes) {
  const std::size_t begin = at % kRingBytes;
  const std::size_t first = std::min(bytes, kRingBytes - begin);
  std::memcpy(out, ring + begin, first);
  std::memcpy(static_cast<std::uint8_t*>(out) + first, ring, bytes - first);
}

}  // namespace

base::Result<MmapWatch> MmapWatch::open() {
  MmapWatch watch;
  watch.poll_ = base::Fd(epoll_create1(EPOLL_CLOEXEC));
  perf_event_attr attr{};
  attr.size = sizeof(attr);
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_DUMMY;
  attr.mmap = 1;
  attr.mmap2 = 1;
  attr.watermark = 1;  // in bytes: wakeup_events counts samples only, and these are none
  attr.wakeup_watermark = 1;
  const long cpus = sysconf(_SC_NPROCESSORS_CONF);
  for (int cpu = 0; cpu < cpus; ++cpu) {
    Ring ring;
    ring.fd = base::Fd(static_cast<int>(syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
    if (!ring.fd && errno == ENODEV) continue;  // the CPU is offline
    if (!ring.fd)
      return base::errno_error(errno, fmt::format("watch mappings on cpu {}", cpu), "run as root, or with CAP_PERFMON");
    ring.bytes = kPage + kRingBytes;
    void* memory = mmap(nullptr, ring.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd.get(), 0);
    if (memory == MAP_FAILED) return base::errno_error(errno, "map a perf ring");
    ring.memory = memory;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = watch.rings_.size();
    watch.rings_.push_back(std::move(ring));
    if (epoll_ctl(watch.poll_.get(), EPOLL_CTL_ADD, watch.rings_.back().fd.get(), &event) != 0)
      return base::errno_error(errno, "epoll_ctl");
  }
  return watch;
}

MmapWatch::MmapWatch(MmapWatch&& other) noexcept { *this = std::move(other); }

MmapWatch& MmapWatch::operator=(MmapWatch&& other) noexcept {
  std::swap(poll_, other.poll_);
  std::swap(rings_, other.rings_);
  std::swap(lost_, other.lost_);
  return *this;
}

MmapWatch::~MmapWatch() {
  for (Ring& ring : rings_) munmap(ring.memory, ring.bytes);
}

void MmapWatch::drain(const std::function<void(const Event&)>& f) {
  for (Ring& ring : rings_) drain(ring, f);
}

void MmapWatch::drain(Ring& ring, const std::function<void(const Event&)>& f) {
  auto* page = static_cast<perf_event_mmap_page*>(ring.memory);
  const auto* data = static_cast<const std::uint8_t*>(ring.memory) + kPage;
  std::uint64_t tail = page->data_tail;
  const std::uint64_t head = std::atomic_ref(page->data_head).load(std::memory_order_acquire);
  while (tail < head) {
    perf_event_header header;
    copy_out(data, tail, &header, sizeof(header));
    if (header.size < sizeof(header)) break;
    if (header.type == PERF_RECORD_MMAP2 && header.size >= sizeof(Mmap2)) {
      Mmap2 record;
      copy_out(data, tail, &record, sizeof(record));
      if ((record.protection & PROT_EXEC) != 0 && record.inode != 0)
        f({record.pid, record.address, record.address + record.length});
    } else if (header.type == PERF_RECORD_LOST && header.size >= sizeof(Lost)) {
      Lost record;
      copy_out(data, tail, &record, sizeof(record));
      lost_ += record.lost;
    }
    tail += header.size;
  }
  std::atomic_ref(page->data_tail).store(tail, std::memory_order_release);
}

std::uint64_t MmapWatch::take_lost() { return std::exchange(lost_, 0); }

}  // namespace penstock::discovery
