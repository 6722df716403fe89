// Inside of the ledger. Split over three files: ledger.cc (calls), ledger_accounts.cc (definitions, accounts, eviction,
// listing), ledger_commit.cc (journal slots and group commit).
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "userspace/ledger/instance.h"
#include "userspace/ledger/journal.h"
#include "userspace/ledger/ledger.h"
#include "userspace/ledger/store_impl.h"

namespace penstock::ledger {

class Ledger::Impl {
 public:
  Impl(const Options& options, Store* store, Now now);
  ~Impl();

  // One account a call is charged to.
  struct Held {
    Instance* instance = nullptr;
    BudgetUnit unit = BudgetUnit::kNanoUsd;
    std::int64_t mark = 0;
    std::uint32_t epoch = 0;
    std::uint32_t limit_generation = 0;
    std::int64_t reserved = 0;  // once settled as an estimate: what was charged
    bool forced = false;        // had no room: progress() does not hold it to the limit
  };
  // A call in flight, or settled as an estimate and still open to correction.
  struct Call {
    std::uint64_t exchange_id = 0;
    std::uint64_t seq = 0;
    std::uint64_t generation = 0;        // tells a reused entry from the one a queue meant
    std::uint64_t correct_until_ns = 0;  // boot time; 0: in flight
    std::int64_t real_ns = 0;
    bool stored = false;  // has rows in the store's reservation table (or in a commit under way)
    bool queued = false;  // waits in opened_ for the next commit
    bool ended = false;   // settled or cancelled: a commit from now on must not show it as open
    std::vector<Held> held;
    std::vector<std::uint32_t> slots;  // one per kChargesPerSlot of held; empty: not in the journal
  };
  struct Definition {
    std::shared_ptr<const BudgetSpec> spec;
    std::optional<std::int64_t> limit_override;
    bool partly_stored = false;                                // the store holds accounts of it that are not in memory
    WindowSpan span{0, 0};                                     // calendar: window in force, for capacity_epoch
    std::unordered_map<std::string_view, Instance*> accounts;  // keys are the instances' own
  };

  // ledger.cc
  Outcome admit(std::uint64_t exchange_id, std::span<const Charge> charges, const Amounts& upper, Now now, bool force,
                bool dry);
  Outcome progress(std::uint64_t exchange_id, const Amounts& so_far, Now now);
  Outcome settle(std::uint64_t exchange_id, const Amounts& actual, SettleStatus status, Now now);
  Outcome close(Call& call, const std::function<std::int64_t(const Held&)>& charge, bool estimated, Now now);
  Outcome correct(Call& call, const Amounts& actual, Now now);
  void note_crossings(Instance& instance, Outcome& out, LedgerTime at);
  Call* find_call(std::uint64_t exchange_id);
  Call& new_call(std::uint64_t exchange_id);
  void drop_call(Call& call);

  // ledger_accounts.cc
  base::Result<> configure(std::vector<BudgetSpec> specs, Now now);
  Instance* account(BudgetId budget, std::string_view key, LedgerTime at);  // null: table full
  Instance* peek(BudgetId budget, std::string_view key,
                 LedgerTime at);  // null: not in memory (and so empty, or evicted)
  bool may_be_stored(BudgetId budget, std::string_view key) const;
  std::int64_t limit_of(const Instance& instance) const;
  void touch(Instance& instance);
  bool evict_one(LedgerTime now);
  void erase(Instance& instance);
  void mark_dirty(Instance& instance);
  BudgetStatus status_of(Instance& instance, LedgerTime at);
  base::Result<> set_limit(BudgetId budget, std::optional<std::string_view> key, std::optional<std::int64_t> limit,
                           Now now);
  base::Result<> reset(BudgetId budget, std::optional<std::string_view> key, Now now);
  std::vector<BudgetStatus> list(Now now);

  // ledger_commit.cc
  void journal_reserve(Call& call);
  void journal_update(Call& call);
  void journal_settle(Call& call, std::span<const JournalCharge> charges);
  std::uint32_t take_slot(Journal::State state, std::uint64_t seq, std::uint64_t settle_seq, std::int64_t real_ns,
                          std::uint64_t exchange_id, std::span<const JournalCharge> charges);
  void spill();
  void reap();
  void maybe_commit(Now now);
  void submit(Now now);
  bool anything_to_commit() const;
  void tick(Now now);
  std::uint64_t request_commit(Now now);
  bool durable(std::uint64_t ticket);
  base::Result<> flush(Now now, std::uint64_t timeout_ns);

  LedgerTime at(Now now) const {
    return {anchor_ns_ + static_cast<std::int64_t>(now.boot_ns), now.real_ns / 1'000'000'000};
  }
  std::int64_t amount_of(BudgetUnit unit, const Amounts& amounts);
  bool store_refuses() const {
    return store_ && options_.on_store_failure == OnStoreFailure::kRefuse && store_->failing();
  }

  const Options options_;
  Store::Impl* const store_;
  const std::int64_t anchor_ns_;  // real time - boot time when the ledger was made

  std::vector<Definition> definitions_;
  std::vector<BudgetSpec> specs_;
  std::unordered_map<std::string, std::unique_ptr<Instance>> instances_;  // by the 16 bytes of the id
  Instance* newest_ = nullptr;
  Instance* oldest_ = nullptr;

  std::vector<std::unique_ptr<Call>> calls_;  // every entry ever made: reused
  std::vector<Call*> free_calls_;
  std::unordered_map<std::uint64_t, Call*> by_exchange_;
  std::deque<std::pair<Call*, std::uint64_t>> correctable_;  // in order of correct_until_ns; second: generation
  std::uint64_t in_flight_ = 0;
  std::uint64_t generation_ = 0;

  std::uint64_t next_seq_ = 1;
  std::uint64_t last_settle_seq_ = 0;
  std::deque<std::pair<std::uint64_t, std::uint32_t>> settled_slots_;  // settle_seq, slot
  std::vector<Instance*> dirty_;
  std::vector<std::pair<Call*, std::uint64_t>> opened_;  // to be written to the reservation table
  std::vector<std::uint64_t> closed_;                    // to be deleted from it
  std::vector<LimitRow> limit_changes_;
  std::uint64_t submitted_ = 0;  // number of the last batch
  std::uint64_t committed_ = 0;
  bool commit_wanted_ = false;
  std::uint64_t last_submit_ns_ = 0;
  std::uint64_t retry_at_ns_ = 0;  // after a failed commit
  std::uint64_t retry_wait_ns_ = 0;
  std::uint64_t capacity_epoch_ = 1;
  std::vector<LimitRow> limits_;  // in force for whole budgets, also of budgets that are not configured
  std::vector<std::pair<Instance*, bool>> scratch_;  // of admit(): the accounts, and whether they have no room
  std::vector<JournalCharge> changes_;               // of close() and correct()
  std::vector<std::uint32_t> slots_;                 // of journal_settle()
  Stats stats_;
};

InstanceId instance_id(const BudgetSpec& spec, std::string_view key);

}  // namespace penstock::ledger
