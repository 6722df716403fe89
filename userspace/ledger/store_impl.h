// Inside of the store: what the ledger hands to the writer thread and reads at start. Not for other folders.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "userspace/base/fd.h"
#include "userspace/ledger/instance.h"
#include "userspace/ledger/journal.h"
#include "userspace/ledger/store.h"

namespace penstock::ledger {

struct InstanceRow {
  InstanceId id;
  bool identity = false;  // write names, epoch and override
  std::string policy, name, window, key;
  BudgetUnit unit = BudgetUnit::kNanoUsd;
  std::uint32_t epoch = 0;
  std::optional<std::int64_t> limit_override;
  bool wiped = false;                 // delete all cells first
  std::vector<std::int64_t> dropped;  // delete these cells
  std::vector<Cell> cells;            // write these
};

struct OpenRow {
  std::uint64_t seq = 0;
  InstanceId id;
  std::uint32_t epoch = 0;
  std::int64_t mark = 0;
  std::int64_t amount = 0;
};

struct LimitRow {
  std::string policy, name;
  BudgetUnit unit = BudgetUnit::kNanoUsd;
  std::optional<std::int64_t> limit;  // absent: delete
};

// One commit: the state of everything that changed, as of one moment.
struct Batch {
  std::uint64_t number = 0;
  std::uint64_t covered_seq = 0;  // settlements up to here are inside
  std::int64_t real_ns = 0;
  std::vector<InstanceRow> instances;
  std::vector<OpenRow> opened;
  std::vector<std::uint64_t> closed;
  std::vector<LimitRow> limits;
};

struct StoredInstance {
  InstanceId id;
  std::string key;
  std::uint32_t epoch = 0;
  std::optional<std::int64_t> limit_override;
  std::vector<Cell> cells;
};

class Store::Impl {
 public:
  ~Impl();
  base::Result<> open(const Options& options, Now now);

  // Ledger's thread.
  bool idle() const;                                // no batch is being written
  void submit(std::unique_ptr<Batch> batch);        // only when idle
  std::unique_ptr<Batch> collect(bool* committed);  // the batch that was written (or not); null: none finished
  bool wait(std::uint64_t timeout_ns);              // until idle; false: time is over
  Journal& journal() { return journal_; }
  std::uint64_t first_seq() const { return first_seq_; }
  std::vector<StoredInstance> load(const BudgetSpec& spec, std::size_t limit, bool* more);
  std::optional<StoredInstance> find(InstanceId id);
  const std::vector<LimitRow>& limits() const { return limits_; }
  bool unnamed(InstanceId id) const { return unnamed_.contains(id); }
  bool failing() const { return failing_.load(std::memory_order_relaxed); }

  Recovery recovery_;
  mutable std::mutex mutex_;
  Stats stats_;  // under mutex_
  base::Fd commit_fd_;

 private:
  friend class Store;
  class Statement;
  base::Result<> migrate();
  base::Result<> recover(const Journal::Content& content);
  base::Result<> apply(InstanceId id, std::uint32_t epoch, std::int64_t mark, std::int64_t amount,
                       std::int64_t estimated);
  base::Result<> write(const Batch& batch);
  base::Result<> exec(const char* sql);
  base::Error sql_error(std::string_view what) const;
  base::Result<std::string> meta(const char* key);
  base::Result<> set_meta(const char* key, std::string_view value);
  std::vector<Cell> cells_of(sqlite3* db, InstanceId id);
  void run();

  Options options_;
  base::Fd lock_;
  sqlite3* db_ = nullptr;      // writer: open() first, the writer thread afterwards
  sqlite3* reader_ = nullptr;  // ledger's thread
  Journal journal_;
  std::uint64_t first_seq_ = 1;
  std::vector<LimitRow> limits_;
  std::set<InstanceId> unnamed_;  // accounts known to the store by id only

  std::condition_variable wake_;
  std::unique_ptr<Batch> pending_;   // under mutex_: to be written
  std::unique_ptr<Batch> finished_;  // under mutex_
  bool finished_ok_ = false;
  bool writing_ = false;
  bool stop_ = false;
  std::atomic<bool> failing_{false};
  std::atomic<bool> has_finished_{false};
  std::atomic<bool> busy_{false};
  std::thread writer_;
};

}  // namespace penstock::ledger
