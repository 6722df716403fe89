// One account: a budget with the values of its key. The amounts lie in cells, one per piece of time:
//   lifetime   one cell, mark 0
//   calendar   one cell, mark = start of the window (Unix seconds); the cell of an earlier window is dropped
//   rolling    up to 61 cells of 1/60 of the window, mark = start of the cell (ledger nanoseconds); a cell counts until
//   the
//              whole of it has left the window, so that a limit holds over any stretch of the window's length
// A call is accounted in the cell of the moment it was reserved in; if that cell is gone when the call ends, nothing is
// left to correct. `epoch` counts resets: a call of an earlier epoch does not touch the account any more. Thread: the
// ledger's. Arithmetic saturates.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "userspace/ledger/journal.h"
#include "userspace/ledger/ledger.h"

namespace penstock::ledger {

struct Cell {
  std::int64_t mark = 0;
  std::int64_t spent = 0;
  std::int64_t estimated = 0;  // part of spent
  std::int64_t reserved = 0;
  bool dirty = false;  // `spent` or `estimated` differ from the store
};

// Rolling windows count boot time from a fixed point, so that a step of the wall clock moves nothing.
struct LedgerTime {
  std::int64_t ns = 0;      // real time at the ledger's start + boot time since
  std::int64_t real_s = 0;  // wall clock, for calendar windows
};

class Instance {
 public:
  Instance(InstanceId id_, std::string key_, std::shared_ptr<const BudgetSpec> budget)
      : id(id_), key(std::move(key_)), origin(std::move(budget)) {}

  const InstanceId id;
  const std::string key;
  std::shared_ptr<const BudgetSpec> origin;  // identity and window; a definition that is gone lives on here
  BudgetId spec = 0;                         // index of the definition in force, unless orphan
  bool orphan = false;                       // its budget is not configured (any more)
  std::uint32_t epoch = 0;
  std::uint32_t limit_generation = 0;  // grows when the limit is lowered
  std::optional<std::int64_t> limit_override;
  std::uint32_t in_flight = 0;
  std::uint32_t references = 0;  // ledger entries that point here; it cannot be evicted meanwhile
  std::uint64_t breaches = 0;
  std::uint64_t batch = 0;            // last commit that carries its state
  bool dirty = false;                 // queued for the next commit
  bool identity_dirty = true;         // names, epoch or override differ from the store
  bool wiped = false;                 // cells in the store belong to an earlier epoch
  std::vector<std::int64_t> dropped;  // marks to delete from the store
  Instance* newer = nullptr;          // least-recently-used list
  Instance* older = nullptr;

  std::int64_t spent() const { return spent_; }
  std::int64_t estimated() const { return estimated_; }
  std::int64_t reserved() const { return reserved_; }
  std::int64_t used() const;
  std::vector<Cell>& cells() { return cells_; }
  const std::vector<Cell>& cells() const { return cells_; }

  // Drops what has left the window. Call before looking at any amount.
  void roll(LedgerTime now);
  // Mark of the cell for a call made now; rolled before.
  std::int64_t current_mark(LedgerTime now) const;
  // The cell, made if `create`; null if it is not in the account (any more).
  Cell* cell(std::int64_t mark, bool create = false);
  // Exact: kMaxCallAmount times the calls in flight does not overflow.
  void add_reserved(Cell& cell, std::int64_t change);
  // False where the sum had to be clamped.
  bool add_spent(Cell& cell, std::int64_t change, std::int64_t estimated_change);
  // From the store: cells that lie in the future (the wall clock was set back in between) count as now.
  void restore(std::uint32_t epoch, std::optional<std::int64_t> limit_override, std::vector<Cell> cells,
               LedgerTime now);
  void reset();
  // Nanoseconds until `needed` fits under `limit` by the passing of time alone.
  std::optional<std::uint64_t> fits_after(LedgerTime now, std::int64_t limit, std::int64_t needed) const;
  // Thresholds reached for the first time in this window.
  void crossings(const std::vector<std::uint32_t>& permille, LedgerTime now, std::int64_t limit,
                 std::vector<SoftCrossing>& out);
  void rearm() { soft_fired_ = 0; }

 private:
  const Window& window() const { return origin->window; }
  void recount();

  std::vector<Cell> cells_;  // ascending marks
  std::int64_t spent_ = 0, estimated_ = 0, reserved_ = 0;
  std::int64_t mark_ = 0;         // calendar: start of the window in force
  std::int64_t mark_end_ = 0;     // and its end
  std::uint64_t soft_fired_ = 0;  // bit per threshold
  std::int64_t soft_fired_ns_ = 0;
};

// Width of a rolling window's cells, nanoseconds.
std::int64_t cell_width_ns(const Window& window);

}  // namespace penstock::ledger
