#include "userspace/locators/core/mapped_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <numeric>
#include <vector>

#include "userspace/base/fd.h"

namespace penstock::locators {
namespace {

base::Fd memory_file(std::size_t size) {
  base::Fd fd(memfd_create("mapped_file_test", MFD_CLOEXEC));
  const std::vector<char> content(size, 'x');
  EXPECT_EQ(pwrite(fd.get(), content.data(), size, 0), static_cast<ssize_t>(size));
  return fd;
}

TEST(MappedFile, MapsARegularFile) {
  const base::Fd fd = memory_file(5000);
  auto file = MappedFile::map(fd.get());
  ASSERT_TRUE(file);
  EXPECT_EQ(file->bytes().size(), 5000u);
  EXPECT_EQ(file->bytes()[4999], 'x');
  EXPECT_FALSE(file->damaged());
}

TEST(MappedFile, ReadsZeroesWhereTheFileWasTruncatedAndSaysSo) {
  const base::Fd fd = memory_file(64 * 1024);
  auto file = MappedFile::map(fd.get());
  ASSERT_TRUE(file);
  ASSERT_EQ(ftruncate(fd.get(), 4096), 0);
  const auto bytes = file->bytes();
  const unsigned sum = std::accumulate(bytes.begin(), bytes.end(), 0u);
  EXPECT_EQ(sum, 4096u * 'x');
  EXPECT_TRUE(file->damaged());
}

TEST(MappedFile, RefusesWhatIsNotARegularFile) {
  const base::Fd directory(open("/", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(MappedFile::map(directory.get()));
  const base::Fd zero(open("/dev/zero", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(MappedFile::map(zero.get()));
  const base::Fd empty(memfd_create("empty", MFD_CLOEXEC));
  EXPECT_FALSE(MappedFile::map(empty.get()));
}

TEST(MappedFile, RefusesAFileThatIsTooLarge) {
  const base::Fd fd(memfd_create("sparse", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), static_cast<off_t>(MappedFile::kMaxBytes + 1)), 0);
  EXPECT_FALSE(MappedFile::map(fd.get()));
}

TEST(MappedFile, MovesAndReleasesItsSlot) {
  const base::Fd fd = memory_file(4096);
  for (int round = 0; round < 1000; ++round) {
    auto first = MappedFile::map(fd.get());
    ASSERT_TRUE(first);
    MappedFile second = std::move(*first);
    EXPECT_EQ(second.bytes().size(), 4096u);
  }
  std::vector<MappedFile> many;
  for (;;) {
    auto file = MappedFile::map(fd.get());
    if (!file) break;
    many.push_back(std::move(*file));
  }
  EXPECT_EQ(many.size(), 64u);
}

TEST(MappedFileDeathTest, AForeignBusErrorStillKills) {
  EXPECT_EXIT(
      {
        const base::Fd ours = memory_file(4096);
        auto file = MappedFile::map(ours.get());
        const base::Fd other = memory_file(8192);
        volatile char* p = static_cast<char*>(mmap(nullptr, 8192, PROT_READ, MAP_PRIVATE, other.get(), 0));
        if (ftruncate(other.get(), 0) == 0) static_cast<void>(p[4096]);
      },
      testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace penstock::locators
