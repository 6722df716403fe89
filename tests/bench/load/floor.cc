// bench_floor empty|copy: probes the same sites of libssl as Penstock does, with programs that do (almost) nothing.
// Prints "ready" when attached, and its counters at SIGTERM. `copy` looks at its ring every millisecond and discards
// what is there.
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string_view>
#include <vector>

#include "bench_floor_bpf.skel.h"
#include "userspace/capture/ring.h"
#include "userspace/capture/uprobe_multi.h"
#include "userspace/locators/core/analysis.h"
#include "userspace/locators/core/mapped_file.h"

namespace {

using namespace penstock;

volatile std::sig_atomic_t g_stop = 0;
void on_signal(int) { g_stop = 1; }

base::Result<> run(std::string_view mode, const char* library) {
  base::Fd fd(open(library, O_RDONLY | O_CLOEXEC));
  PN_TRY(auto file, locators::MappedFile::map(fd.get()));
  PN_TRY(auto image, locators::ElfImage::parse(file.bytes()));
  const auto plans = locators::analyze(image, locators::registry()).plans;
  if (plans.empty()) return base::Error{base::ErrorCode::kNotFound, 0, "no TLS calls found in the library", ""};
  std::vector<std::uint64_t> entries, returns;
  for (const auto& site : plans.front().sites) {
    entries.push_back(site.entry_offset);
    if (site.return_offset != 0) returns.push_back(site.return_offset);
  }
  const std::unique_ptr<bench_floor_bpf, void (*)(bench_floor_bpf*)> skeleton(bench_floor_bpf__open(),
                                                                              bench_floor_bpf__destroy);
  bpf_program* programs[] = {skeleton->progs.floor__empty, skeleton->progs.floor__copy_enter,
                             skeleton->progs.floor__copy_exit};
  for (bpf_program* p : programs)
    bpf_program__set_expected_attach_type(p, static_cast<bpf_attach_type>(capture::kTraceUprobeMulti));
  if (bench_floor_bpf__load(skeleton.get()) != 0) return base::errno_error(errno, "load");
  const bool copy = mode == "copy";
  const std::vector<std::uint64_t> cookies(entries.size(), 0);
  PN_TRY(auto on_return,
         capture::attach_uprobe_multi(bpf_program__fd(programs[copy ? 2 : 0]), library, returns,
                                      std::span(cookies).first(returns.size()), capture::ProbeAt::kReturn));
  PN_TRY(auto on_entry, capture::attach_uprobe_multi(bpf_program__fd(programs[copy ? 1 : 0]), library, entries, cookies,
                                                     capture::ProbeAt::kEntry));
  capture::Ring ring;
  PN_CHECK(ring.open(bpf_map__fd(skeleton->maps.floor_ring)));
  std::puts("ready");
  std::fflush(stdout);
  while (g_stop == 0) {
    std::span<const std::uint8_t> record;
    while (ring.peek(record) == capture::Ring::State::kReady) ring.consume();
    const timespec pause{0, copy ? 1'000'000 : 100'000'000};
    nanosleep(&pause, nullptr);
  }
  std::printf("{\"copied\": %llu, \"lost\": %llu}\n", skeleton->bss->floor_copied, skeleton->bss->floor_lost);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode != "empty" && mode != "copy") {
    std::fputs("usage: bench_floor empty|copy [LIBSSL]\n", stderr);
    return 2;
  }
  std::signal(SIGTERM, on_signal);
  std::signal(SIGINT, on_signal);
  auto done = run(mode, argc > 2 ? argv[2] : "/usr/lib/x86_64-linux-gnu/libssl.so.3");
  if (done) return 0;
  std::fprintf(stderr, "%s\n", done.error().message().c_str());
  return 1;
}
