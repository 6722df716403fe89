// What the daemon does for one exchange, from events to the settled figure, without a kernel: parsing, identity,
// prices, budgets, policy. Times are published, never asserted.
#include <benchmark/benchmark.h>

#include "parsers/wire/testing.h"
#include "userspace/pipeline/test_rig.h"

namespace penstock::pipeline {
namespace {

constexpr char kModel[] = "gpt-4o-mini";

// The rig of the tests; every exchange is thrown away.
class Rig final : public PipelineTest {
 public:
  void TestBody() override {}
  void govern() {
    apply(
        "kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: spend, per: [run], usd: 1000000 }\n"
        "rules:\n  - { deny: { model: \"forbidden*\" } }\n");
  }
  void call(std::uint64_t connection, const std::string& request, const std::vector<std::string>& answer) {
    kernel_.write(connection, request);
    for (const std::string& piece : answer) kernel_.answer(connection, piece);
    conn(connection).received.clear();
    recorder_.exchanges.clear();
    recorder_.verdicts.clear();
    clock_.advance_ns(1'000'000);
  }
  std::uint64_t connect() { return kernel_.connect(7); }
};

void exchange(benchmark::State& state, bool gated, std::size_t prompt, std::size_t chunks) {
  Rig rig;
  if (gated) rig.govern();
  const std::uint64_t connection = rig.connect();
  std::string text;
  while (text.size() < prompt) text += "The quick brown fox jumps over the lazy dog. ";
  const std::string request = chat_request(kModel, 100, chunks > 0, "api.openai.com", text);
  std::vector<std::string> answer;
  if (chunks == 0) {
    answer.push_back(chat_answer(kModel, 250, 20));
  } else {
    answer.push_back(stream_head());
    for (std::size_t i = 0; i < chunks; ++i) answer.push_back(stream_chunk(kModel, " word"));
    answer.push_back(stream_end(kModel));
  }
  rig.call(connection, request, answer);
  const std::size_t before = parsers::wire::testing::allocations();
  for (auto _ : state) rig.call(connection, request, answer);
  state.counters["allocations"] = benchmark::Counter(
      static_cast<double>(parsers::wire::testing::allocations() - before), benchmark::Counter::kAvgIterations);
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK_CAPTURE(exchange, observed_1KiB, false, 1024, 0);
BENCHMARK_CAPTURE(exchange, gated_1KiB, true, 1024, 0);
BENCHMARK_CAPTURE(exchange, observed_32KiB, false, 32768, 0);
BENCHMARK_CAPTURE(exchange, observed_sse200, false, 1024, 200);
BENCHMARK_CAPTURE(exchange, gated_sse200, true, 1024, 200);

}  // namespace
}  // namespace penstock::pipeline

BENCHMARK_MAIN();
