// The ledger: budgets, reservations, windows. A call is reserved at its upper estimate in every budget that covers it,
// atomically, before it leaves; it is settled at what it cost. A limit is compared with spent + reserved, so that it
// holds however many calls are in flight.
//
// Thread: one (the pipeline thread) for everything here. Nothing waits for the disk, with two counted exceptions: all
// journal slots in use (a commit is waited for, bounded), and the reappearance of an instance that was evicted to the
// store. Cost of an operation: O(budgets on the call). Memory: bounded by Options. Units: amounts are in the budget's
// unit: nano-dollars, tokens, or requests. Arithmetic saturates; nothing goes below 0. Failure: a breach is an answer,
// not an error. Store failures are counted in Stats and follow Options.on_store_failure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/base/result.h"
#include "userspace/ledger/window.h"
#include "userspace/model/exchange.h"
#include "userspace/model/money.h"

namespace penstock::ledger {

class Store;

// Both clocks at one moment. Rolling windows follow the boot clock (it never jumps), calendar windows real time.
struct Now {
  std::uint64_t boot_ns = 0;
  std::int64_t real_ns = 0;
};

enum class BudgetUnit : std::uint8_t { kNanoUsd, kTokens, kRequests };
enum class OnBreach : std::uint8_t { kHold, kPace, kDeny, kCut };

// Index of a budget definition, valid until the next configure().
using BudgetId = std::uint32_t;

struct BudgetSpec {
  std::string policy;
  std::string name;              // unique within the policy
  std::vector<std::string> per;  // dimensions of the key, see key_of(); empty: one instance for all
  BudgetUnit unit = BudgetUnit::kNanoUsd;
  std::int64_t limit = 0;  // in `unit`; negative values count as 0
  Window window;
  std::vector<std::uint32_t> soft_permille;  // 800: report when 80 % is promised
  OnBreach on_breach = OnBreach::kDeny;
  bool strict = false;          // callers reserve the upper bound (estimate.h)
  bool allow_unpriced = false;  // money budgets: let a call pass (uncounted) whose cost is unknown
};

// The key of one budget instance: "agent=claude-code,run=…" in the order of `per`; "" when `per` is empty. Dimensions:
// agent run user exe cgroup namespace pod container unit model provider host kind tool label.<name>. Values that are
// unknown are empty, escaped where they hold ',' '=' '\' or control characters, and shortened (with a digest) beyond
// 256 bytes. `payer`: whose attributes are meant, when a call is charged to an agent further up; by default the
// exchange's subject.
std::string key_of(const std::vector<std::string>& per, const model::Exchange& exchange);
std::string key_of(const std::vector<std::string>& per, const model::Exchange& exchange, const model::Subject& payer);
bool is_dimension(std::string_view name);

struct Charge {
  BudgetId budget = 0;
  std::string_view key;  // from key_of; valid during the call
};

// What a call takes. `cost` absent: it cannot be priced.
struct Amounts {
  std::optional<model::NanoUsd> cost;
  std::uint64_t tokens = 0;
  std::uint64_t requests = 1;
};

enum class BreachReason : std::uint8_t {
  kLimit,     // spent + reserved + needed would pass the limit
  kUnpriced,  // a money budget and no price
  kCapacity,  // a bounded table of the ledger is full
  kStore,     // the store fails and Options.on_store_failure is kRefuse
};

struct Breach {
  BudgetId budget = 0;
  std::string key;
  BreachReason reason = BreachReason::kLimit;
  OnBreach on_breach = OnBreach::kDeny;
  BudgetUnit unit = BudgetUnit::kNanoUsd;
  std::int64_t limit = 0;
  std::int64_t remaining = 0;  // limit - spent - reserved, never below 0
  std::int64_t needed = 0;
  // When enough of the window has passed for this call to fit, if nothing else happens (it may fit earlier: see
  // capacity_epoch). Absent: waiting alone will never do (lifetime window, or it needs more than the limit).
  std::optional<std::uint64_t> retry_after_ns;
};

struct SoftCrossing {
  BudgetId budget = 0;
  std::string key;
  std::uint32_t permille = 0;
  std::int64_t used = 0;  // spent + reserved
  std::int64_t limit = 0;
};

struct Outcome {
  bool admitted = true;   // reserve only
  bool known = true;      // false: no such reservation (progress, settle, cancel)
  bool breached = false;  // progress: the call passed its reservation and a limit is gone
  std::vector<Breach> breaches;
  std::vector<SoftCrossing> crossings;  // thresholds crossed by this operation, each once per window
};

enum class SettleStatus : std::uint8_t {
  kExact,      // what the provider reported
  kEstimated,  // computed: kept apart in `estimated`, and open to one later exact settle() within Options.late_usage_ns
};

struct BudgetStatus {
  std::string policy, name, key;
  BudgetUnit unit = BudgetUnit::kNanoUsd;
  std::int64_t limit = 0;
  bool limit_overridden = false;  // set by set_limit, not by the policy
  std::int64_t spent = 0;         // settled, estimated part included
  std::int64_t estimated = 0;     // part of spent that is an estimate
  std::int64_t reserved = 0;      // in flight
  std::int64_t remaining = 0;
  std::uint32_t in_flight = 0;  // reservations
  std::string window;
  std::optional<std::int64_t> reset_real_ns;  // calendar: end of the window
  OnBreach on_breach = OnBreach::kDeny;
  std::uint64_t breaches = 0;  // since the process started
};

class Ledger {
 public:
  enum class OnStoreFailure : std::uint8_t { kContinue, kRefuse };
  struct Options {
    std::size_t max_instances = 100'000;            // in memory; idle ones beyond it go to the store
    std::size_t max_reservations = 65'536;          // in flight
    std::uint64_t commit_interval_ns = 50'000'000;  // group commit: spend younger than this is in the journal only
    std::uint64_t commit_wait_ns = 500'000'000;     // longest wait when every journal slot is in use
    std::uint64_t late_usage_ns = 60'000'000'000;   // how long an estimated settlement may still be corrected
    OnStoreFailure on_store_failure = OnStoreFailure::kContinue;
  };
  struct Stats {
    std::uint64_t reserved = 0, refused = 0, settled = 0, settled_estimated = 0, corrected = 0, cancelled = 0;
    std::uint64_t saturated = 0;  // amounts clamped to the range
    std::uint64_t unpriced_admitted = 0;
    std::uint64_t instances = 0, in_flight = 0, evicted = 0, reloaded = 0;
    std::uint64_t undurable = 0;   // operations acknowledged without a journal slot
    std::uint64_t slot_waits = 0;  // times the pipeline waited for a commit to free a slot
    std::uint64_t commits_failed = 0;
  };

  // `store` may be null: budgets then live in memory only. It outlives the ledger.
  Ledger(const Options& options, Store* store, Now now);
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // Replaces all definitions; BudgetIds are indices into `specs`. Instances are matched by (policy, name, unit, window,
  // key): a changed limit keeps what was spent, a changed unit or window starts a new account. Calls in flight stay
  // charged where they were reserved. Error: two budgets with one name in one policy, or an unknown dimension.
  base::Result<> configure(std::vector<BudgetSpec> specs, Now now);
  const std::vector<BudgetSpec>& specs() const;
  std::optional<BudgetId> find(std::string_view policy, std::string_view name) const;

  // All or nothing over `charges` (duplicates count once). Durable against a killed process when it returns. With
  // `force` the reservation is made whatever the limits say and `breaches` tells what would have refused it (observe
  // mode, a person's release); progress() does not hold the call to the limits that it passed here. An exchange id in
  // flight is a bug.
  Outcome reserve(std::uint64_t exchange_id, std::span<const Charge> charges, const Amounts& upper, Now now,
                  bool force = false);
  // Would reserve() admit? Changes nothing.
  Outcome probe(std::span<const Charge> charges, const Amounts& upper, Now now);
  // What the call has taken so far; the reservation grows with it. A call within its own reservation is not breached,
  // unless a limit was lowered meanwhile.
  Outcome progress(std::uint64_t exchange_id, const Amounts& so_far, Now now);
  Outcome settle(std::uint64_t exchange_id, const Amounts& actual, SettleStatus status, Now now);
  // Was cut, or ended without usage: charges max(upper estimate, progress), marked estimated.
  Outcome settle_estimated(std::uint64_t exchange_id, Now now);
  // Refused or never sent: gives everything back.
  Outcome cancel(std::uint64_t exchange_id, Now now);

  // `key` absent: for every instance of the budget (nullopt limit: back to the policy's). The change is durable after
  // the next commit: wait for durable(request_commit()) before acknowledging it to a person.
  base::Result<> set_limit(BudgetId budget, std::optional<std::string_view> key, std::optional<std::int64_t> limit,
                           Now now);
  // Starts at 0 again. Calls in flight belong to the time before and are charged there.
  base::Result<> reset(BudgetId budget, std::optional<std::string_view> key, Now now);
  // Accounts in memory. Missing: idle ones evicted to the store, and ones recovered from the journal before they were
  // ever committed (their names come back with their next call).
  std::vector<BudgetStatus> list(Now now);
  std::optional<BudgetStatus> status(BudgetId budget, std::string_view key, Now now);

  // Group commit, window roll-over, expiry of late-usage entries. Call it from the event loop at least every 100 ms.
  void tick(Now now);
  // Grows whenever capacity may have come back (settled below the reservation, cancelled, reset, limit raised, window
  // over): held requests are worth another try when it changes.
  std::uint64_t capacity_epoch() const;
  // Asks for a commit of everything acknowledged so far; durable(ticket) turns true once it is on disk (fsync).
  // Store::commit_fd() becomes readable then. Without a store it is true at once.
  std::uint64_t request_commit(Now now);
  bool durable(std::uint64_t ticket);
  // Waits for it; for shutdown and tests. Error: the store failed or the time is over.
  base::Result<> flush(Now now, std::uint64_t timeout_ns);
  Stats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock::ledger
