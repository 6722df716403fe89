// The store is tested by killing: a child works on a ledger and writes what it was promised into shared memory; it is
// killed at a random moment; the next process must find exactly what was promised.
#include "userspace/ledger/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <map>
#include <random>

#include "userspace/base/log.h"
#include "userspace/ledger/journal.h"

namespace penstock::ledger {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

// Memory where there is some: thousands of commits are made here, and none needs a disk to be tested.
std::string scratch(std::string_view name) {
  const std::string base = std::filesystem::is_directory("/dev/shm") ? "/dev/shm/" : ::testing::TempDir();
  std::string pattern = base + std::string(name) + "-XXXXXX";
  const char* made = ::mkdtemp(pattern.data());
  return made ? made : std::string();
}

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() {
    dir = scratch("ledger-store");
    options.database = dir + "/ledger.db";
    options.slots = 64;
    base::set_log_level(base::LogLevel::kError);
  }
  ~StoreTest() override { std::filesystem::remove_all(dir); }

  static BudgetSpec spec(std::string name, std::int64_t limit, BudgetUnit unit = BudgetUnit::kTokens,
                         std::string_view window = {}) {
    BudgetSpec s;
    s.policy = "p";
    s.name = std::move(name);
    s.unit = unit;
    s.limit = limit;
    s.window = Window::parse(window).value();
    return s;
  }
  void open(std::vector<BudgetSpec> specs, Ledger::Options ledger_options = {}) {
    ledger.reset();
    store.reset();
    auto opened = Store::open(options, now);
    ASSERT_TRUE(opened.has_value()) << opened.error().message();
    store = std::move(opened).value();
    ledger = std::make_unique<Ledger>(ledger_options, store.get(), now);
    auto ok = ledger->configure(std::move(specs), now);
    ASSERT_TRUE(ok.has_value()) << ok.error().message();
  }
  Outcome reserve(std::uint64_t id, std::uint64_t tokens, BudgetId budget = 0, std::string_view key = "k") {
    const Charge charge{budget, key};
    return ledger->reserve(id, std::span(&charge, 1), {{}, tokens, 1}, now);
  }
  void settle(std::uint64_t id, std::uint64_t tokens) {
    ledger->settle(id, {{}, tokens, 1}, SettleStatus::kExact, now);
  }
  void flush() {
    auto ok = ledger->flush(now, 60 * kSecond);
    ASSERT_TRUE(ok.has_value()) << ok.error().message();
  }
  BudgetStatus status(BudgetId budget = 0, std::string_view key = "k") {
    return ledger->status(budget, key, now).value_or(BudgetStatus{});
  }

  std::string dir;
  Store::Options options;
  Now now{1000 * kSecond, 1'787'000'000LL * static_cast<std::int64_t>(kSecond)};
  std::unique_ptr<Store> store;
  std::unique_ptr<Ledger> ledger;
};

TEST_F(StoreTest, SpendSurvivesARestart) {
  open({spec("a", 1000)});
  reserve(1, 100);
  settle(1, 70);
  flush();
  EXPECT_TRUE(ledger->durable(ledger->request_commit(now)));
  open({spec("a", 1000)});
  EXPECT_EQ(status().spent, 70);
  EXPECT_EQ(status().estimated, 0);
  EXPECT_EQ(store->recovery().settled, 0U);
}

TEST_F(StoreTest, UncommittedWorkIsInTheJournal) {
  open({spec("a", 1000)}, {.commit_interval_ns = UINT64_MAX / 2});
  reserve(1, 100);
  settle(1, 70);
  reserve(2, 200);  // in flight
  reserve(3, 50);
  ledger->cancel(3, now);
  reserve(4, 10);
  ledger->settle_estimated(4, now);
  reserve(5, 20);
  ledger->settle_estimated(5, now);
  settle(5, 5);  // corrected
  open({spec("a", 1000)});
  EXPECT_EQ(store->recovery().charged, 1U);
  EXPECT_EQ(status().spent, 70 + 200 + 10 + 5);
  EXPECT_EQ(status().estimated, 200 + 10);
  open({spec("a", 1000)});
  EXPECT_EQ(status().spent, 285) << "recovered twice";
}

TEST_F(StoreTest, ProgressBeyondTheReservationIsInTheJournal) {
  open({spec("a", 1000)}, {.commit_interval_ns = UINT64_MAX / 2});
  reserve(1, 100);
  ledger->progress(1, {{}, 170, 1}, now);
  open({spec("a", 1000)});
  EXPECT_EQ(status().spent, 170);
}

TEST_F(StoreTest, ReservationTableIsEnoughWithoutTheJournal) {
  open({spec("a", 1000)});
  reserve(1, 100);
  settle(1, 40);
  reserve(2, 200);
  flush();
  ledger.reset();
  store.reset();
  std::filesystem::remove(options.database + ".journal");  // loss of power with the journal on a tmpfs
  open({spec("a", 1000)});
  EXPECT_EQ(status().spent, 240);
  EXPECT_EQ(status().estimated, 200);
}

TEST_F(StoreTest, ManyBudgetsPerCallTakeSeveralSlots) {
  std::vector<BudgetSpec> specs;
  std::vector<Charge> charges;
  for (BudgetId i = 0; i < 11; ++i) {
    specs.push_back(spec("b" + std::to_string(i), 1000));
    charges.push_back({i, "k"});
  }
  open(specs, {.commit_interval_ns = UINT64_MAX / 2});
  ASSERT_TRUE(ledger->reserve(1, charges, {{}, 30, 1}, now).admitted);
  ASSERT_TRUE(ledger->reserve(2, charges, {{}, 30, 1}, now).admitted);
  settle(2, 7);
  open(specs);
  for (BudgetId i = 0; i < 11; ++i) EXPECT_EQ(status(i).spent, 37);
}

TEST_F(StoreTest, FullJournalWaitsForACommitAndSpills) {
  open({spec("a", 100'000)}, {.commit_interval_ns = UINT64_MAX / 2, .commit_wait_ns = 3600 * kSecond});
  for (std::uint64_t i = 1; i <= 1000; ++i) ASSERT_TRUE(reserve(i, 10).admitted);  // 64 slots
  EXPECT_EQ(ledger->stats().undurable, 0U);
  EXPECT_GT(ledger->stats().slot_waits, 0U);
  for (std::uint64_t i = 1; i <= 500; ++i) settle(i, 3);
  ledger->progress(900, {{}, 25, 1}, now);
  EXPECT_EQ(ledger->stats().undurable, 0U);
  open({spec("a", 100'000)});
  EXPECT_EQ(status().spent, 500 * 3 + 499 * 10 + 25);
}

// The settlement itself finds no slot and commits to get one: that commit holds the settled amount already.
TEST_F(StoreTest, CommitInsideASettlementDoesNotCountTheCallTwice) {
  options.slots = 2;
  open({spec("a", 100'000)}, {.commit_interval_ns = UINT64_MAX / 2, .commit_wait_ns = 3600 * kSecond});
  for (std::uint64_t i = 1; i <= 4; ++i) ASSERT_TRUE(reserve(i, 1000).admitted);
  settle(1, 1);
  ledger->settle_estimated(2, now);
  settle(3, 1);
  EXPECT_EQ(ledger->stats().undurable, 0U);
  open({spec("a", 100'000)});
  EXPECT_EQ(status().spent, 1 + 1000 + 1 + 1000);
  EXPECT_EQ(status().estimated, 2000);
}

TEST_F(StoreTest, CorruptSlotsAreCountedNotBelieved) {
  open({spec("a", 1000)}, {.commit_interval_ns = UINT64_MAX / 2});
  for (std::uint64_t i = 1; i <= 3; ++i) reserve(i, 100);
  ledger.reset();
  store.reset();
  const std::string path = options.database + ".journal";
  std::mt19937_64 random(5);
  const auto content = Journal::read(path);
  ASSERT_TRUE(content.has_value());
  ASSERT_EQ(content->entries.size(), 3U);
  std::vector<char> bytes(std::filesystem::file_size(path));
  base::Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::pread(fd.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  // Every byte of the slots, one at a time: never a crash, never an entry that was not written.
  const std::vector<char> good = bytes;
  for (std::size_t at = 4096; at < 4096 + 3 * 384; at += 1) {
    const char flipped = static_cast<char>(good[at] ^ static_cast<char>(1 << random() % 8));
    ASSERT_EQ(::pwrite(fd.get(), &flipped, 1, static_cast<off_t>(at)), 1);
    const auto damaged = Journal::read(path);
    ASSERT_TRUE(damaged.has_value());
    ASSERT_LE(damaged->entries.size(), 3U);
    for (const auto& e : damaged->entries) {
      ASSERT_EQ(e.charges.size(), 1U);
      ASSERT_EQ(e.charges[0].amount, 100);
      ASSERT_TRUE(e.seq >= 1 && e.seq <= 3);
    }
    ASSERT_EQ(::pwrite(fd.get(), &good[at], 1, static_cast<off_t>(at)), 1);
  }
  const char bad = static_cast<char>(good[4096 + 2 * 384 + 16] ^ 1);  // the third: the first is in the database too
  ASSERT_EQ(::pwrite(fd.get(), &bad, 1, 4096 + 2 * 384 + 16), 1);
  open({spec("a", 1000)});
  EXPECT_EQ(store->recovery().corrupt_slots, 1U);
  EXPECT_EQ(status().spent, 200);
}

TEST_F(StoreTest, ForeignJournalIsSetAside) {
  open({spec("a", 1000)}, {.commit_interval_ns = UINT64_MAX / 2});
  reserve(1, 100);
  ledger.reset();
  store.reset();
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(options.database + suffix);
  open({spec("a", 1000)});
  EXPECT_TRUE(store->recovery().journal_foreign);
  EXPECT_EQ(status().spent, 0);
  EXPECT_TRUE(std::filesystem::exists(options.database + ".journal.foreign"));
}

TEST_F(StoreTest, OneProcessAtATime) {
  open({});
  auto second = Store::open(options, now);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, base::ErrorCode::kUnavailable);
}

TEST_F(StoreTest, BrokenDatabaseIsAnError) {
  base::Fd fd(::open(options.database.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  const std::string junk(8192, 'x');
  ASSERT_EQ(::write(fd.get(), junk.data(), junk.size()), static_cast<ssize_t>(junk.size()));
  auto opened = Store::open(options, now);
  ASSERT_FALSE(opened.has_value());
  EXPECT_FALSE(opened.error().hint.empty());
}

TEST_F(StoreTest, LimitsAndResetsSurvive) {
  open({spec("a", 100), spec("b", 100)});
  reserve(1, 90);
  settle(1, 90);
  ASSERT_TRUE(ledger->set_limit(0, "k", 500, now).has_value());
  ASSERT_TRUE(ledger->set_limit(1, std::nullopt, 7, now).has_value());
  ASSERT_TRUE(reserve(2, 5, 1).admitted);
  settle(2, 5);
  flush();
  open({spec("a", 100), spec("b", 100)});
  EXPECT_EQ(status(0).limit, 500);
  EXPECT_EQ(status(1).limit, 7);
  ASSERT_TRUE(ledger->reset(0, std::nullopt, now).has_value());
  ASSERT_TRUE(ledger->set_limit(1, std::nullopt, std::nullopt, now).has_value());
  reserve(3, 11);
  flush();
  open({spec("a", 100), spec("b", 100)});
  EXPECT_EQ(status(0).spent, 11);
  EXPECT_EQ(status(0).limit, 500);
  EXPECT_EQ(status(1).limit, 100);
}

TEST_F(StoreTest, ResetBeforeTheCommitIsSeenThroughTheJournal) {
  open({spec("a", 100)});
  reserve(1, 90);
  settle(1, 90);
  flush();
  ASSERT_TRUE(ledger->reset(0, "k", now).has_value());
  reserve(2, 30);  // journal only, of the new epoch
  open({spec("a", 100)});
  EXPECT_EQ(status(0).spent, 30);
}

TEST_F(StoreTest, WindowsSurvive) {
  const std::vector<BudgetSpec> specs = {spec("d", 1000, BudgetUnit::kTokens, "1d"),
                                         spec("r", 1000, BudgetUnit::kTokens, "60s rolling")};
  open(specs);
  const std::vector<Charge> both = {{0, "k"}, {1, "k"}};
  for (std::uint64_t i = 1; i <= 5; ++i) {
    ASSERT_TRUE(ledger->reserve(i, both, {{}, 10, 1}, now).admitted);
    settle(i, 10);
    now.boot_ns += 10 * kSecond;
    now.real_ns += 10 * static_cast<std::int64_t>(kSecond);
    ledger->tick(now);
  }
  flush();
  // A reboot: the boot clock starts anew.
  now.boot_ns = 5 * kSecond;
  now.real_ns += 5 * static_cast<std::int64_t>(kSecond);
  open(specs);
  EXPECT_EQ(status(0).spent, 50);
  EXPECT_EQ(status(1).spent, 50);  // 15 to 55 seconds old
  now.boot_ns += 22 * kSecond;
  now.real_ns += 22 * static_cast<std::int64_t>(kSecond);
  EXPECT_EQ(status(1).spent, 30);
  now.boot_ns += 86'400 * kSecond;
  now.real_ns += 86'400 * static_cast<std::int64_t>(kSecond);
  EXPECT_EQ(status(0).spent, 0);
  EXPECT_EQ(status(1).spent, 0);
  // The wall clock was set back over a restart: what was spent "in the future" counts as now.
  ASSERT_TRUE(ledger->reserve(9, both, {{}, 33, 1}, now).admitted);
  settle(9, 33);
  flush();
  now.real_ns -= 30'000 * static_cast<std::int64_t>(kSecond);
  open(specs);
  EXPECT_EQ(status(0).spent, 33);
  EXPECT_EQ(status(1).spent, 33);
}

TEST_F(StoreTest, IdleAccountsGoToTheStoreAndComeBack) {
  open({spec("a", 100)}, {.max_instances = 50});
  for (std::uint64_t i = 0; i < 500; ++i) {
    const std::string key = "agent=" + std::to_string(i);
    ASSERT_TRUE(reserve(i + 1, 60, 0, key).admitted) << i;
    settle(i + 1, 60);
    if (i % 20 == 19) flush();
  }
  EXPECT_LE(ledger->stats().instances, 62U);
  EXPECT_GT(ledger->stats().evicted, 400U);
  for (std::uint64_t i = 0; i < 500; i += 7) {
    const std::string key = "agent=" + std::to_string(i);
    ASSERT_FALSE(reserve(1000 + i, 60, 0, key).admitted) << "forgot " << key;
    ASSERT_TRUE(reserve(1000 + i, 40, 0, key).admitted);
    ledger->cancel(1000 + i, now);
    if (i % 5 == 0) flush();
  }
  // More accounts on disk than fit: the rest is found when needed.
  open({spec("a", 100)}, {.max_instances = 50});
  for (std::uint64_t i = 0; i < 500; i += 13)
    ASSERT_FALSE(reserve(5000 + i, 60, 0, "agent=" + std::to_string(i)).admitted) << i;
}

TEST_F(StoreTest, FailingDiskIsVisibleAndNothingIsLost) {
  open({spec("a", 1000)}, {.commit_interval_ns = 0, .commit_wait_ns = kSecond});
  reserve(1, 10);
  settle(1, 10);
  flush();
  // Writes beyond the present size fail with EFBIG: the same path as a full disk.
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  rlimit tight = old;
  tight.rlim_cur = 1;
  ::setrlimit(RLIMIT_FSIZE, &tight);
  for (std::uint64_t i = 2; i <= 400; ++i) {
    ASSERT_TRUE(reserve(i, 2).admitted);
    settle(i, 1);
    now.boot_ns += kSecond;
  }
  EXPECT_FALSE(ledger->flush(now, 60 * kSecond).has_value());
  ::setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_TRUE(store->stats().failing);
  EXPECT_GT(store->stats().commit_errors, 0U);
  EXPECT_GT(ledger->stats().undurable, 0U) << "64 slots for 399 calls";
  EXPECT_EQ(status().spent, 409);
  flush();
  EXPECT_FALSE(store->stats().failing);
  open({spec("a", 1000)});
  EXPECT_EQ(status().spent, 409);
}

TEST_F(StoreTest, FailingDiskCanRefuse) {
  open({spec("a", 1000)}, {.on_store_failure = Ledger::OnStoreFailure::kRefuse});
  reserve(1, 10);
  settle(1, 10);
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  rlimit tight = old;
  tight.rlim_cur = 1;
  ::setrlimit(RLIMIT_FSIZE, &tight);
  EXPECT_FALSE(ledger->flush(now, 60 * kSecond).has_value());
  ::setrlimit(RLIMIT_FSIZE, &old);
  auto out = reserve(2, 10);
  ASSERT_FALSE(out.admitted);
  EXPECT_EQ(out.breaches[0].reason, BreachReason::kStore);
  flush();
  EXPECT_TRUE(reserve(2, 10).admitted);
}

// --- killed at random moments ---------------------------------------------------------------------------------------

constexpr int kAccounts = 3;
constexpr std::uint64_t kLogEntries = 200'000;

// What the child does, in memory that outlives it: an entry is written before its operation starts, `done` counts it
// after it returned. At the kill at most one entry is beyond `done`: that operation may or may not have happened.
struct Log {
  enum class Op : std::uint32_t { kReserve, kProgress, kSettle, kEstimate, kCancel };
  struct Entry {
    Op op;
    std::uint64_t id;
    std::int64_t amount;
  };
  std::atomic<std::uint64_t> started, done;
  Entry entries[kLogEntries];
};

using Totals = std::array<std::int64_t, kAccounts>;

std::size_t account_of(std::uint64_t id) { return static_cast<std::size_t>(id % kAccounts); }
std::string key_name(std::size_t account) { return "agent=" + std::to_string(account); }

// What the accounts must hold once calls in flight are charged at their upper estimate.
Totals replay(const Log& log, std::uint64_t entries, Totals spent) {
  std::map<std::uint64_t, std::int64_t> open;
  for (std::uint64_t i = 0; i < entries; ++i) {
    const Log::Entry& e = log.entries[i];
    switch (e.op) {
      case Log::Op::kReserve:
        open[e.id] = e.amount;
        break;
      case Log::Op::kProgress:
        open[e.id] = std::max(open[e.id], e.amount);
        break;
      case Log::Op::kSettle:
        spent[account_of(e.id)] += e.amount, open.erase(e.id);
        break;
      case Log::Op::kEstimate:
        spent[account_of(e.id)] += open[e.id], open.erase(e.id);
        break;
      case Log::Op::kCancel:
        open.erase(e.id);
        break;
    }
  }
  for (auto [id, amount] : open) spent[account_of(id)] += amount;
  return spent;
}

[[noreturn]] void work(const Store::Options& options, const std::vector<BudgetSpec>& specs, Now now, Log* log,
                       std::uint64_t seed) {
  auto store = Store::open(options, now);
  if (!store) ::_exit(3);
  Ledger ledger({.max_reservations = 1000, .commit_interval_ns = 2'000'000, .commit_wait_ns = 3600 * kSecond},
                store->get(), now);
  if (!ledger.configure(specs, now)) ::_exit(3);
  std::mt19937_64 random(seed);
  std::vector<std::uint64_t> open;
  for (std::uint64_t step = 0, next = 1; step < kLogEntries; ++step) {
    now.boot_ns += random() % 400'000;
    Log::Entry e{Log::Op::kReserve, next, static_cast<std::int64_t>(1 + random() % 1000)};
    std::size_t pick = 0;
    if (open.size() > 200 || (!open.empty() && random() % 2 == 0)) {
      pick = random() % open.size();
      const auto kind = random() % 10;
      e.id = open[pick];
      e.op = kind < 5   ? Log::Op::kSettle
             : kind < 7 ? Log::Op::kProgress
             : kind < 9 ? Log::Op::kEstimate
                        : Log::Op::kCancel;
    }
    log->entries[step] = e;
    log->started.fetch_add(1);
    const std::string key = key_name(account_of(e.id));
    const std::vector<Charge> charges = {{0, key}, {1, key}};
    const Amounts amounts{{}, static_cast<std::uint64_t>(e.amount), 1};
    bool ok = true;
    switch (e.op) {
      case Log::Op::kReserve:
        ok = ledger.reserve(e.id, charges, amounts, now).admitted;
        break;
      case Log::Op::kProgress:
        ok = ledger.progress(e.id, amounts, now).known;
        break;
      case Log::Op::kSettle:
        ok = ledger.settle(e.id, amounts, SettleStatus::kExact, now).known;
        break;
      case Log::Op::kEstimate:
        ok = ledger.settle_estimated(e.id, now).known;
        break;
      case Log::Op::kCancel:
        ok = ledger.cancel(e.id, now).known;
        break;
    }
    if (!ok) ::_exit(4);
    if (ledger.stats().undurable != 0) ::_exit(5);
    log->done.fetch_add(1);
    if (e.op == Log::Op::kReserve)
      open.push_back(next++);
    else if (e.op != Log::Op::kProgress)
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(pick));
  }
  ::_exit(6);
}

// The kill lands anywhere: inside an operation, in the middle of a commit, while the store opens or recovers.
TEST_F(StoreTest, KilledAtRandomMoments) {
  auto* log =
      static_cast<Log*>(::mmap(nullptr, sizeof(Log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(log, MAP_FAILED);
  std::mt19937_64 random(20260821);
  constexpr auto kPlenty = INT64_MAX / 2;
  const std::vector<BudgetSpec> specs = {spec("a", kPlenty), spec("b", kPlenty, BudgetUnit::kTokens, "1mo")};
  Totals spent{};
  std::uint64_t operations = 0, undecided = 0, happened = 0;
  for (int life = 0; life < 48; ++life) {
    log->started = log->done = 0;
    options.slots = life % 4 == 0 ? 256 : 8192;  // few: most of the time goes into waiting for commits
    const std::uint64_t target = life % 8 == 7 ? 0 : 1 + random() % 3000;
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) work(options, specs, now, log, random());
    int result = 0;
    pid_t reaped = 0;
    while (log->done.load() < target && (reaped = ::waitpid(child, &result, WNOHANG)) == 0) ::sched_yield();
    if (reaped == 0) {
      ::kill(child, SIGKILL);
      reaped = ::waitpid(child, &result, 0);
    }
    ASSERT_TRUE(reaped == child && WIFSIGNALED(result)) << "the child ended by itself, status " << result;
    operations += log->done;

    const Totals without = replay(*log, log->done, spent);
    const Totals with = replay(*log, log->started, spent);
    if (without == with && life % 3 != 0) {  // let the next life recover, perhaps to be killed at that
      spent = without;
      continue;
    }
    open(specs);
    Totals found{};
    for (std::size_t a = 0; a < kAccounts; ++a) {
      found[a] = status(0, key_name(a)).spent;
      ASSERT_EQ(found[a], status(1, key_name(a)).spent) << "half an operation, life " << life;
    }
    ASSERT_TRUE(found == without || found == with)
        << "life " << life << ": found " << ::testing::PrintToString(found) << ", promised "
        << ::testing::PrintToString(without) << " or " << ::testing::PrintToString(with);
    undecided += without != with;
    happened += without != with && found == with;
    spent = found;
    ledger.reset();
    store.reset();
  }
  EXPECT_GT(operations, 10'000U);
  RecordProperty("operations", static_cast<int>(operations));
  RecordProperty("undecided", static_cast<int>(undecided));
  RecordProperty("happened", static_cast<int>(happened));
  ::munmap(log, sizeof(Log));
}

}  // namespace
}  // namespace penstock::ledger
