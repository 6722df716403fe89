// Cost of accounting on the pipeline thread: reserve + settle over N budgets, without a store, with the journal and the
// committing writer behind it, and the estimate that comes before. Times are published, never asserted.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "userspace/base/clock.h"
#include "userspace/base/log.h"
#include "userspace/ledger/estimate.h"
#include "userspace/ledger/ledger.h"
#include "userspace/ledger/store.h"

namespace penstock::ledger {
namespace {

std::vector<BudgetSpec> specs(int budgets) {
  const char* windows[] = {"1d", "60s rolling", "", "1mo"};
  std::vector<BudgetSpec> out;
  for (int i = 0; i < budgets; ++i) {
    BudgetSpec& s = out.emplace_back();
    s.policy = "bench";
    s.name = std::to_string(i);
    s.per = {"agent"};
    s.unit = static_cast<BudgetUnit>(i % 3);
    s.limit = INT64_MAX / 2;
    s.window = Window::parse(windows[i % 4]).value();
    s.soft_permille = {800};
  }
  return out;
}

// A directory of its own on a tmpfs where there is one, as in production (/run), and the database beside it.
std::string directory() {
  std::string pattern =
      std::filesystem::is_directory("/dev/shm") ? "/dev/shm/penstock-bench-XXXXXX" : "/tmp/penstock-bench-XXXXXX";
  return ::mkdtemp(pattern.data());
}

void calls(benchmark::State& state, Ledger& ledger, const base::Clock& clock) {
  const int budgets = static_cast<int>(state.range(0));
  const int in_flight = static_cast<int>(state.range(1));
  std::vector<std::string> keys;
  for (int i = 0; i < 16; ++i) keys.push_back("agent=agent-" + std::to_string(i));
  std::vector<std::vector<Charge>> charges(16);
  for (std::size_t k = 0; k < 16; ++k)
    for (int b = 0; b < budgets; ++b) charges[k].push_back({static_cast<BudgetId>(b), keys[k]});
  std::uint64_t id = 0;
  const Amounts upper{model::NanoUsd{1'000'000}, 5000, 1};
  const Amounts actual{model::NanoUsd{400'000}, 2000, 1};
  // The time is read once per 64 calls: in the daemon the event brings it along.
  Now now{clock.boot_ns(), clock.real_ns()};
  for (int i = 0; i < in_flight; ++i) ++id, ledger.reserve(id, charges[id % 16], upper, now);
  for (auto _ : state) {
    if (id % 64 == 0) now = {clock.boot_ns(), clock.real_ns()};
    ++id;
    benchmark::DoNotOptimize(ledger.reserve(id, charges[id % 16], upper, now).admitted);
    ledger.settle(id - static_cast<std::uint64_t>(in_flight), actual, SettleStatus::kExact, now);
  }
  const auto stats = ledger.stats();
  state.counters["slot_waits"] = static_cast<double>(stats.slot_waits);
  state.counters["undurable"] = static_cast<double>(stats.undurable);
}

void reserve_settle_memory(benchmark::State& state) {
  base::SystemClock clock;
  const Now now{clock.boot_ns(), clock.real_ns()};
  Ledger ledger({}, nullptr, now);
  if (!ledger.configure(specs(static_cast<int>(state.range(0))), now)) return state.SkipWithError("configure");
  calls(state, ledger, clock);
}

void reserve_settle_durable(benchmark::State& state) {
  base::SystemClock clock;
  const Now now{clock.boot_ns(), clock.real_ns()};
  const std::string journal = directory();
  std::string pattern = "/tmp/penstock-bench-db-XXXXXX";
  const std::string database = ::mkdtemp(pattern.data());
  {
    auto store = Store::open({database + "/ledger.db", journal + "/ledger.journal", 65'536}, now);
    if (!store) return state.SkipWithError(store.error().message().c_str());
    Ledger ledger({}, store->get(), now);
    if (!ledger.configure(specs(static_cast<int>(state.range(0))), now)) return state.SkipWithError("configure");
    calls(state, ledger, clock);
    state.counters["commits"] = static_cast<double>((*store)->stats().commits);
  }
  std::filesystem::remove_all(journal);
  std::filesystem::remove_all(database);
}

void estimate(benchmark::State& state) {
  base::set_log_level(base::LogLevel::kError);
  auto book = PriceBook::load({});
  if (!book) return state.SkipWithError("prices");
  Estimator estimator({}, &*book);
  model::Exchange e;
  e.provider = state.range(0) == 0 ? "openai" : "anthropic";
  e.host = state.range(0) == 0 ? "api.openai.com" : "api.anthropic.com";
  e.request_model = state.range(0) == 0 ? "gpt-5" : "claude-sonnet-4-5-20991231";
  e.request.text_bytes = e.request.body_bytes = 4096;
  e.request.max_output_tokens = 1024;
  e.timing.start_real_ns = base::SystemClock().real_ns();
  for (auto _ : state) benchmark::DoNotOptimize(estimator.reserve_amounts(e, true).tokens);
}

BENCHMARK(reserve_settle_memory)
    ->ArgNames({"budgets", "in_flight"})
    ->Args({1, 1})
    ->Args({4, 1})
    ->Args({4, 64})
    ->Args({8, 64});
BENCHMARK(reserve_settle_durable)
    ->ArgNames({"budgets", "in_flight"})
    ->Args({1, 1})
    ->Args({4, 1})
    ->Args({4, 64})
    ->Args({8, 64});
BENCHMARK(estimate)->ArgName("similar_name")->Arg(0)->Arg(1);

}  // namespace
}  // namespace penstock::ledger

BENCHMARK_MAIN();
