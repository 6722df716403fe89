// Every write, sync and truncation that SQLite makes fails once, one after the other, and then all from that one on:
// whatever was acknowledged is found again by the next process. The fault comes from a VFS registered as SQLite's
// default.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "userspace/base/log.h"
#include "userspace/ledger/store.h"

namespace penstock::ledger {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

struct Faults {
  std::atomic<int> countdown{-1};  // calls until the failing one; negative: none
  std::atomic<bool> stays{false};  // every later call fails, too
  std::atomic<int> code{SQLITE_OK};
  std::atomic<int> hits{0};

  int next() {
    const int left = countdown.load();
    if (left < 0) return SQLITE_OK;
    if (left > 0) {
      countdown.store(left - 1);
      return SQLITE_OK;
    }
    if (!stays) countdown.store(-1);
    ++hits;
    return code;
  }
};
Faults faults;

// A file of the wrapped VFS follows the header in memory.
struct File {
  sqlite3_file base;
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};
File* file(sqlite3_file* f) { return reinterpret_cast<File*>(f); }

template <auto Method, class... Args>
int forward(sqlite3_file* f, Args... args) {
  sqlite3_file* real = file(f)->real();
  return (real->pMethods->*Method)(real, args...);
}

int faulty_write(sqlite3_file* f, const void* data, int n, sqlite3_int64 at) {
  if (const int rc = faults.next()) return rc;
  return forward<&sqlite3_io_methods::xWrite>(f, data, n, at);
}
int faulty_truncate(sqlite3_file* f, sqlite3_int64 size) {
  if (const int rc = faults.next()) return rc;
  return forward<&sqlite3_io_methods::xTruncate>(f, size);
}
int faulty_sync(sqlite3_file* f, int flags) {
  if (const int rc = faults.next()) return rc;
  return forward<&sqlite3_io_methods::xSync>(f, flags);
}
void shm_barrier(sqlite3_file* f) { file(f)->real()->pMethods->xShmBarrier(file(f)->real()); }

const sqlite3_io_methods kMethods = {
    2,
    [](sqlite3_file* f) { return forward<&sqlite3_io_methods::xClose>(f); },
    [](sqlite3_file* f, void* to, int n, sqlite3_int64 at) {
      return forward<&sqlite3_io_methods::xRead>(f, to, n, at);
    },
    faulty_write,
    faulty_truncate,
    faulty_sync,
    [](sqlite3_file* f, sqlite3_int64* size) { return forward<&sqlite3_io_methods::xFileSize>(f, size); },
    [](sqlite3_file* f, int lock) { return forward<&sqlite3_io_methods::xLock>(f, lock); },
    [](sqlite3_file* f, int lock) { return forward<&sqlite3_io_methods::xUnlock>(f, lock); },
    [](sqlite3_file* f, int* out) { return forward<&sqlite3_io_methods::xCheckReservedLock>(f, out); },
    [](sqlite3_file* f, int op, void* arg) { return forward<&sqlite3_io_methods::xFileControl>(f, op, arg); },
    [](sqlite3_file* f) { return forward<&sqlite3_io_methods::xSectorSize>(f); },
    [](sqlite3_file* f) { return forward<&sqlite3_io_methods::xDeviceCharacteristics>(f); },
    [](sqlite3_file* f, int page, int size, int extend, void volatile** out) {
      return forward<&sqlite3_io_methods::xShmMap>(f, page, size, extend, out);
    },
    [](sqlite3_file* f, int offset, int n, int flags) {
      return forward<&sqlite3_io_methods::xShmLock>(f, offset, n, flags);
    },
    shm_barrier,
    [](sqlite3_file* f, int remove) { return forward<&sqlite3_io_methods::xShmUnmap>(f, remove); },
    nullptr,
    nullptr,
};

int faulty_open(sqlite3_vfs* vfs, const char* name, sqlite3_file* f, int flags, int* out) {
  auto* real = static_cast<sqlite3_vfs*>(vfs->pAppData);
  f->pMethods = nullptr;
  const int rc = real->xOpen(real, name, file(f)->real(), flags, out);
  if (rc == SQLITE_OK) f->pMethods = &kMethods;
  return rc;
}

void register_faulty_vfs() {
  static sqlite3_vfs vfs;
  if (vfs.zName) return;
  sqlite3_vfs* real = ::sqlite3_vfs_find(nullptr);
  vfs = *real;
  vfs.zName = "faulty";
  vfs.pNext = nullptr;
  vfs.pAppData = real;
  vfs.szOsFile = static_cast<int>(sizeof(File)) + real->szOsFile;
  vfs.xOpen = faulty_open;
  ASSERT_EQ(::sqlite3_vfs_register(&vfs, 1), SQLITE_OK);
}

// Memory where there is some: thousands of commits are made here, and none needs a disk to be tested.
std::string scratch(std::string_view name) {
  const std::string base = std::filesystem::is_directory("/dev/shm") ? "/dev/shm/" : ::testing::TempDir();
  std::string pattern = base + std::string(name) + "-XXXXXX";
  const char* made = ::mkdtemp(pattern.data());
  return made ? made : std::string();
}

class StoreFaultTest : public ::testing::TestWithParam<int> {
 protected:
  StoreFaultTest() {
    register_faulty_vfs();
    // Thousands of failures are the point here.
    base::set_log_level(base::LogLevel::kError);
  }
  ~StoreFaultTest() override { faults.countdown = -1; }

  base::Result<> open() {
    ledger.reset();
    store.reset();
    PN_TRY(store, Store::open({dir + "/db", "", 128}, now));
    ledger = std::make_unique<Ledger>(Ledger::Options{}, store.get(), now);
    BudgetSpec spec;
    spec.policy = "p";
    spec.name = "a";
    spec.unit = BudgetUnit::kTokens;
    spec.limit = 1'000'000;
    return ledger->configure({spec}, now);
  }
  void reserve(std::uint64_t id, std::uint64_t tokens) {
    const Charge charge{0, "k"};
    ASSERT_TRUE(ledger->reserve(id, std::span(&charge, 1), {{}, tokens, 1}, now).admitted);
  }
  // Returns what a next process must find.
  std::int64_t work() {
    for (std::uint64_t i = 1; i <= 3; ++i) reserve(i, 100);
    (void)ledger->flush(now, 60 * kSecond);
    ledger->settle(1, {{}, 60, 1}, SettleStatus::kExact, now);
    ledger->settle_estimated(2, now);
    (void)ledger->flush(now, 60 * kSecond);
    ledger->settle(2, {{}, 10, 1}, SettleStatus::kExact, now);
    reserve(4, 1000);
    (void)ledger->flush(now, 60 * kSecond);
    ledger->cancel(4, now);
    reserve(5, 7);
    return 60 + 10 + 100 + 7;
  }

  std::string dir;
  Now now{1000 * kSecond, 1'787'000'000LL * static_cast<std::int64_t>(kSecond)};
  std::unique_ptr<Store> store;
  std::unique_ptr<Ledger> ledger;
};

TEST_P(StoreFaultTest, EveryCallFailsInTurn) {
  for (bool stays : {false, true}) {
    bool reached_end = false;
    int n = 0;
    for (; !reached_end; ++n) {
      ASSERT_LT(n, 5000);
      dir = scratch("ledger-fault");
      ASSERT_FALSE(dir.empty());
      std::int64_t expected = 0;
      faults.hits = 0;
      faults.code = GetParam();
      faults.stays = stays;
      faults.countdown = n;
      if (open()) {
        expected = work();
        ledger.reset();
        store.reset();
      }
      reached_end = faults.hits == 0;
      faults.countdown = -1;
      const auto reopened = open();
      ASSERT_TRUE(reopened.has_value()) << "call " << n << ": " << reopened.error().message();
      const auto status = ledger->status(0, "k", now);
      ASSERT_EQ(status ? status->spent : 0, expected) << "call " << n << " stays " << stays;
      ledger.reset();
      store.reset();
      std::filesystem::remove_all(dir);
    }
    EXPECT_GT(n, 20);
  }
}

INSTANTIATE_TEST_SUITE_P(Codes, StoreFaultTest, ::testing::Values(SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC));

}  // namespace
}  // namespace penstock::ledger
