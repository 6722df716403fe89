#include "userspace/locators/core/mapped_file.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <utility>

namespace penstock::locators {
namespace {

// Read by the signal handler: only lock-free atomics. A slot is claimed by `used`, and valid while begin != 0.
struct Slot {
  std::atomic<bool> used{false};
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::atomic<bool> damaged{false};
};
std::array<Slot, 64> slots;
struct sigaction previous_action;

void on_sigbus(int signal_number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (Slot& slot : slots) {
    const std::uintptr_t begin = slot.begin.load(std::memory_order_acquire);
    const std::uintptr_t end = slot.end.load(std::memory_order_acquire);
    if (begin == 0 || address < begin || address >= end) continue;
    slot.damaged.store(true, std::memory_order_relaxed);
    // From the faulting page to the end: what lies behind it is gone as well. mmap(2) is a bare system call.
    const std::uintptr_t page = address & ~static_cast<std::uintptr_t>(4095);
    void* zero =
        mmap(reinterpret_cast<void*>(page), end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (zero != MAP_FAILED) {
      errno = saved_errno;
      return;
    }
  }
  errno = saved_errno;
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal_number, info, context);
    return;
  }
  // Default or ignored: restore it, the faulting instruction raises the signal again.
  sigaction(SIGBUS, &previous_action, nullptr);
}

void install_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &previous_action);
  });
}

int claim_slot() {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    bool expected = false;
    if (slots[i].used.compare_exchange_strong(expected, true)) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace

base::Result<MappedFile> MappedFile::map(int fd) {
  struct stat st {};
  if (fstat(fd, &st) != 0) return base::errno_error(errno, "fstat");
  if (!S_ISREG(st.st_mode)) return base::Error{base::ErrorCode::kFailure, 0, "not a regular file", {}};
  if (st.st_size <= 0) return base::Error{base::ErrorCode::kFailure, 0, "the file is empty", {}};
  const auto size = static_cast<std::uint64_t>(st.st_size);
  if (size > kMaxBytes) return base::Error{base::ErrorCode::kFailure, 0, "the file is too large to analyse", {}};
  install_handler();
  const int slot = claim_slot();
  if (slot < 0) return base::Error{base::ErrorCode::kFailure, 0, "too many files are mapped", {}};
  // Shared, because the kernel writes the breakpoints of uprobes (ours, another tool's) into *private* mappings of the
  // file, readable ones included: there we would analyse 0xcc instead of the code. Only what cannot be shared is
  // private.
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED && errno == ENODEV) data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) {
    const int err = errno;
    slots[static_cast<std::size_t>(slot)].used.store(false);
    return base::errno_error(err, "mmap");
  }
  madvise(data, size, MADV_SEQUENTIAL);
  Slot& s = slots[static_cast<std::size_t>(slot)];
  s.damaged.store(false);
  s.end.store(reinterpret_cast<std::uintptr_t>(data) + ((size + 4095) & ~4095ull), std::memory_order_release);
  s.begin.store(reinterpret_cast<std::uintptr_t>(data), std::memory_order_release);
  MappedFile file;
  file.data_ = static_cast<const std::uint8_t*>(data);
  file.size_ = size;
  file.slot_ = slot;
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(slot_, other.slot_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  Slot& slot = slots[static_cast<std::size_t>(slot_)];
  slot.begin.store(0, std::memory_order_release);
  slot.end.store(0, std::memory_order_release);
  munmap(const_cast<std::uint8_t*>(data_), size_);
  slot.used.store(false);
}

bool MappedFile::damaged() const {
  return slot_ >= 0 && slots[static_cast<std::size_t>(slot_)].damaged.load(std::memory_order_relaxed);
}

}  // namespace penstock::locators
