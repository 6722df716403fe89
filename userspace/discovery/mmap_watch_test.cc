// Needs the right to open system-wide perf events.
#include "userspace/discovery/mmap_watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vector>

namespace penstock::discovery {
namespace {

TEST(MmapWatch, SeesAnExecutableFileMappingOfThisProcess) {
  auto watch = MmapWatch::open();
  ASSERT_TRUE(watch) << watch.error().message();
  const base::Fd fd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  void* data = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  void* code = mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd.get(), 0);
  ASSERT_NE(code, MAP_FAILED);
  pollfd ready{watch->fd(), POLLIN, 0};
  ASSERT_EQ(poll(&ready, 1, 10'000), 1);
  std::vector<std::uint64_t> ours;
  watch->drain([&](const MmapWatch::Event& e) {
    if (e.pid == static_cast<std::uint32_t>(getpid())) ours.push_back(e.begin);
  });
  EXPECT_EQ(std::count(ours.begin(), ours.end(), reinterpret_cast<std::uint64_t>(code)), 1);
  EXPECT_EQ(std::count(ours.begin(), ours.end(), reinterpret_cast<std::uint64_t>(data)), 0);
  munmap(data, 4096);
  munmap(code, 4096);
}

TEST(MmapWatch, CountsWhatItsRingsLose) {
  auto watch = MmapWatch::open();
  ASSERT_TRUE(watch) << watch.error().message();
  const base::Fd fd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  // On one CPU: a ring reports its losses with its own next record.
  cpu_set_t all, one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(sched_getcpu()), &one);
  ASSERT_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  constexpr int kMappings = 20'000;
  for (int i = 0; i < kMappings; ++i)
    munmap(mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd.get(), 0), 4096);
  std::uint64_t seen = 0;
  const auto count = [&](const MmapWatch::Event& e) { seen += e.pid == static_cast<std::uint32_t>(getpid()) ? 1 : 0; };
  watch->drain(count);
  // The loss is reported in front of the next record that fits.
  munmap(mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd.get(), 0), 4096);
  watch->drain(count);
  EXPECT_LT(seen, static_cast<std::uint64_t>(kMappings));
  EXPECT_GE(seen + watch->take_lost(), static_cast<std::uint64_t>(kMappings));
  ASSERT_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
}

}  // namespace
}  // namespace penstock::discovery
