// What the ledger answered about one request, in policy's terms: the daemon fills it from the ledger's own result.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace penstock::policy {

// A budget that the request does not fit into. Observed budgets are among them: they never refuse, but say so.
struct BudgetBreach {
  enum class Cause : std::uint8_t {
    kLimit,
    kUnpriced,     // a budget in money, and nothing to price the call by
    kUnavailable,  // the ledger cannot keep the account (its tables are full, its store fails)
  };
  std::uint32_t budget = 0;  // number in budgets()
  std::string key;
  Cause cause = Cause::kLimit;
  // In the budget's unit.
  std::int64_t limit = 0;
  std::int64_t remaining = 0;
  std::int64_t needed = 0;
  // When the request would fit by waiting; absent: never.
  std::optional<std::uint64_t> retry_after_ns;
};

struct LedgerOutcome {
  std::vector<BudgetBreach> breaches;
  bool priced = true;  // a price for the request was found; its money was reserved
};

}  // namespace penstock::policy
