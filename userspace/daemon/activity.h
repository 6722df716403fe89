// Who did how much: sums per agent, run and model, for `top`, `agents` and the summary of a run. Pipeline thread only.
// Bounded: beyond the limits the least recently active row goes, and its sums are in the overall total only.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "userspace/api/control.pb.h"
#include "userspace/base/clock.h"
#include "userspace/model/exchange.h"
#include "userspace/pipeline/ports.h"

namespace penstock::daemon {

// Sums over exchanges that ended. Token sums are absent until an exchange has such a figure.
struct Sums {
  std::uint64_t calls = 0, errors = 0, unpriced = 0, estimated = 0, incomplete = 0, tool_calls = 0;
  std::optional<std::uint64_t> input, output, cache_read, cache_write, reasoning;
  std::optional<std::int64_t> cost_nano_usd;
  void add(const model::Exchange& exchange);
  void write(api::Totals& to) const;
};

// The last 60 seconds, in steps of five.
class LastMinute {
 public:
  void add(std::uint64_t now_boot_ns, std::uint64_t tokens, std::int64_t cost);
  struct Sum {
    std::uint64_t calls = 0, tokens = 0;
    std::int64_t cost_nano_usd = 0;
  };
  Sum sum(std::uint64_t now_boot_ns) const;

 private:
  static constexpr std::uint64_t kStepNs = 5'000'000'000;
  static constexpr std::size_t kSteps = 12;
  struct Step {
    std::uint64_t number = 0;
    Sum sum;
  };
  std::array<Step, kSteps> steps_{};
};

struct ModelRow {
  Sums sums;
  LastMinute minute;
  std::optional<model::PriceStatus> price_status;  // the worst; absent: nothing was to be priced
};

struct ActivityRow {
  Sums sums;
  LastMinute minute;
  model::Subject subject;  // of the newest exchange
  model::Mode mode = model::Mode::kObserve;
  std::int64_t first_real_ns = 0, last_real_ns = 0;
  std::map<std::pair<std::string, std::string>, ModelRow> models;  // (provider, model), bounded
  std::map<std::string, std::uint64_t> verdicts;                   // by action
  std::string last_verdict;
  std::string last_refusal;  // one line for people
};

class Activity final : public pipeline::Observer {
 public:
  explicit Activity(const base::Clock& clock) : clock_(clock) {}

  void on_exchange(const model::Exchange& exchange) override;
  void on_verdict(const model::Exchange& exchange, const model::Verdict& verdict, bool would,
                  std::string_view text) override;
  void on_hold_ended(const model::Exchange&, std::string_view, std::uint64_t) override {}
  void on_soft_crossing(const ledger::SoftCrossing&) override {}

  const Sums& total() const { return total_; }
  const std::map<std::string, ActivityRow>& agents() const { return agents_; }
  const std::map<std::string, ActivityRow>& runs() const { return runs_; }
  const std::map<std::pair<std::string, std::string>, ModelRow>& models() const { return models_; }
  const ActivityRow* run(const std::string& id) const;
  void forget_run(const std::string& id) { runs_.erase(id); }

 private:
  static constexpr std::size_t kMaxRows = 4096;
  static constexpr std::size_t kMaxModels = 512;
  ActivityRow& row(std::map<std::string, ActivityRow>& rows, const std::string& name);
  void add(ActivityRow& row, const model::Exchange& exchange);
  void add_model(std::map<std::pair<std::string, std::string>, ModelRow>& models, const model::Exchange& exchange);

  const base::Clock& clock_;
  Sums total_;
  std::map<std::string, ActivityRow> agents_;
  std::map<std::string, ActivityRow> runs_;
  std::map<std::pair<std::string, std::string>, ModelRow> models_;
};

}  // namespace penstock::daemon
