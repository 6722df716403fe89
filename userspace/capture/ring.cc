#include "userspace/capture/ring.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace penstock::capture {
namespace {

constexpr std::uint32_t kHeaderBytes = BPF_RINGBUF_HDR_SZ;
const std::size_t kPage = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));

unsigned long load_acquire(const unsigned long* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }

}  // namespace

Ring::~Ring() {
  if (consumer_ != nullptr) munmap(consumer_, kPage);
  if (producer_ != nullptr) munmap(const_cast<unsigned long*>(producer_), kPage + size_bytes());
}

base::Result<> Ring::open(int map_fd) {
  bpf_map_info info{};
  __u32 info_bytes = sizeof info;
  if (bpf_obj_get_info_by_fd(map_fd, &info, &info_bytes) != 0) return base::errno_error(errno, "ring buffer info");
  fd_ = map_fd;
  mask_ = info.max_entries - 1;
  void* page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
  if (page == MAP_FAILED) return base::errno_error(errno, "map ring buffer");
  consumer_ = static_cast<unsigned long*>(page);
  // Once, although the kernel offers the data twice in a row: every page of a mapping counts as resident memory.
  page = mmap(nullptr, kPage + size_bytes(), PROT_READ, MAP_SHARED, map_fd, static_cast<off_t>(kPage));
  if (page == MAP_FAILED) return base::errno_error(errno, "map ring buffer data");
  producer_ = static_cast<const unsigned long*>(page);
  data_ = static_cast<const std::uint8_t*>(page) + kPage;
  position_ = load_acquire(consumer_);
  return {};
}

Ring::State Ring::peek(std::span<const std::uint8_t>& record) {
  while (true) {
    if (position_ >= load_acquire(producer_)) return State::kEmpty;
    const std::uint8_t* at = data_ + (position_ & mask_);
    const std::uint32_t header = __atomic_load_n(reinterpret_cast<const std::uint32_t*>(at), __ATOMIC_ACQUIRE);
    if ((header & BPF_RINGBUF_BUSY_BIT) != 0) return State::kBusy;
    const std::uint32_t bytes = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
    record_bytes_ = (bytes + kHeaderBytes + 7) & ~7U;
    if ((header & BPF_RINGBUF_DISCARD_BIT) != 0) {
      consume();
      continue;
    }
    record = record_at((position_ & mask_) + kHeaderBytes, bytes);
    return State::kReady;
  }
}

// A header never wraps around, it is of eight aligned bytes; what follows it may.
std::span<const std::uint8_t> Ring::record_at(std::uint64_t offset, std::uint32_t bytes) {
  if (offset == size_bytes()) offset = 0;
  if (offset + bytes <= size_bytes()) return {data_ + offset, bytes};
  if (wrapped_position_ != position_) {
    const std::uint8_t* const first = data_ + offset;
    wrapped_.assign(first, data_ + size_bytes());
    wrapped_.insert(wrapped_.end(), data_, data_ + (bytes - wrapped_.size()));
    wrapped_position_ = position_;
  }
  return wrapped_;
}

void Ring::consume() {
  position_ += record_bytes_;
  __atomic_store_n(consumer_, position_, __ATOMIC_RELEASE);
}

std::uint64_t Ring::used_bytes() const {
  const unsigned long produced = load_acquire(producer_);
  return produced > position_ ? produced - position_ : 0;
}

}  // namespace penstock::capture
