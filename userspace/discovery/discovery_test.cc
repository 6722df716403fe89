// Against this very process: it maps copies of libssl the ways agents do (a file, a deleted file, a memfd).
#include "userspace/discovery/discovery.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace penstock::discovery {
namespace {

const char* const kLibssl = "/usr/lib/x86_64-linux-gnu/libssl.so.3";

const Pid kSelf = static_cast<Pid>(getpid());

// A mapping of code, gone with the object.
class Mapping {
 public:
  explicit Mapping(int fd) : bytes_(size(fd)), at_(mmap(nullptr, bytes_, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0)) {}
  ~Mapping() { munmap(at_, bytes_); }
  Mapping(const Mapping&) = delete;
  std::uint64_t begin() const { return reinterpret_cast<std::uint64_t>(at_); }
  std::uint64_t end() const { return begin() + ((bytes_ + 4095) & ~4095ull); }

 private:
  static std::size_t size(int fd) {
    struct stat st {};
    fstat(fd, &st);
    return static_cast<std::size_t>(st.st_size);
  }
  std::size_t bytes_;
  void* at_;
};

class DiscoveryTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/discovery_test.XXXXXX";
    directory_ = mkdtemp(pattern);
    library_ = directory_ + "/libcopy.so";
    std::filesystem::copy_file(kLibssl, library_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  Discovery make() { return Discovery({directory_ + "/plans", "test", 1000}, locators::registry(), clock_); }
  base::Fd open_library() { return base::Fd(open(library_.c_str(), O_RDONLY | O_CLOEXEC)); }

  // Everything found so far and by the worker until it has nothing left to do.
  static std::vector<ImageFound> settle(Discovery& d, std::vector<ImageFound> found) {
    while (d.stats().pending != 0 || d.stats().analysed + d.stats().from_cache < d.stats().images) {
      pollfd ready{d.ready_fd(), POLLIN, 0};
      if (poll(&ready, 1, 60'000) != 1) break;
      for (ImageFound& f : d.take_ready()) found.push_back(std::move(f));
    }
    for (ImageFound& f : d.take_ready()) found.push_back(std::move(f));
    return found;
  }
  const ImageFound* of(const std::vector<ImageFound>& found, const std::string& path) {
    for (const ImageFound& f : found)
      if (f.path == path) return &f;
    return nullptr;
  }
  std::string directory_, library_;
  base::SystemClock clock_;
};

TEST_F(DiscoveryTest, FindsALibraryOfAProcessOnce) {
  Discovery d = make();
  const base::Fd fd = open_library();
  const Mapping mapping(fd.get());
  const auto found = settle(d, d.on_process(kSelf));
  const ImageFound* image = of(found, library_);
  ASSERT_NE(image, nullptr);
  ASSERT_EQ(image->analysis.plans.size(), 1u);
  EXPECT_EQ(image->analysis.plans[0].runtime, "openssl");
  EXPECT_EQ(image->pids, std::vector<Pid>{kSelf});
  EXPECT_FALSE(image->deleted);
  // The attach path leads to the very inode.
  struct stat a {
  }, b{};
  ASSERT_EQ(stat(image->attach_path.c_str(), &a), 0);
  ASSERT_EQ(stat(library_.c_str(), &b), 0);
  EXPECT_EQ(a.st_ino, b.st_ino);
  EXPECT_EQ(settle(d, d.on_process(kSelf)).size(), 0u);
  const auto mapped = d.images_of(kSelf);
  EXPECT_TRUE(std::any_of(mapped.begin(), mapped.end(), [&](const auto& m) { return m.path == library_; }));
}

TEST_F(DiscoveryTest, FindsADeletedFileAndAMemfdAndForgetsThem) {
  Discovery d = make();
  const base::Fd fd = open_library();
  auto mapping = std::make_unique<Mapping>(fd.get());
  std::filesystem::remove(library_);
  const base::Fd memory(memfd_create("code", MFD_CLOEXEC));
  std::ifstream in(kLibssl, std::ios::binary);
  const std::vector<char> bytes(std::istreambuf_iterator<char>(in), {});
  ASSERT_EQ(write(memory.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  auto in_memory = std::make_unique<Mapping>(memory.get());
  const auto found = settle(d, d.on_process(kSelf));
  const ImageFound* deleted = of(found, library_);
  const ImageFound* memfd = of(found, "/memfd:code");
  ASSERT_NE(deleted, nullptr);
  ASSERT_NE(memfd, nullptr);
  EXPECT_TRUE(deleted->deleted);
  EXPECT_TRUE(memfd->deleted);
  EXPECT_EQ(memfd->analysis, deleted->analysis);
  EXPECT_TRUE(d.take_gone().empty());
  d.on_exit(kSelf);
  EXPECT_EQ(d.take_gone().size(), 2u);
}

TEST_F(DiscoveryTest, KeepsAnImageWarmAndForgetsItWhenNoPathLeadsToItAnyMore) {
  base::ManualClock clock(60'000'000'000, 1'770'000'000'000'000'000);
  Options options{directory_ + "/plans", "test", 1000};
  Discovery d(options, locators::registry(), clock);
  {
    const base::Fd fd = open_library();
    const Mapping mapping(fd.get());
    const auto found = settle(d, d.on_process(kSelf));
    ASSERT_NE(of(found, library_), nullptr);
  }
  d.on_exit(kSelf);
  clock.advance_ns(options.warm_ns - 1);
  d.drop_idle();
  EXPECT_TRUE(d.take_gone().empty()) << "short-lived processes find it probed";
  const std::uint64_t images = d.stats().images;
  clock.advance_ns(1);
  d.drop_idle();
  EXPECT_TRUE(d.take_gone().empty()) << "it can be run again at any time";
  EXPECT_LT(d.stats().images, images) << "what holds no TLS runtime costs nothing to learn again";

  std::filesystem::remove(library_);  // as when its container ends
  d.drop_idle();
  EXPECT_TRUE(d.take_gone().empty());
  clock.advance_ns(options.warm_ns);
  d.drop_idle();
  EXPECT_EQ(d.take_gone().size(), 1u);
}

TEST_F(DiscoveryTest, WhatIsMappedIsNeverIdle) {
  base::ManualClock clock(60'000'000'000, 1'770'000'000'000'000'000);
  Options options{directory_ + "/plans", "test", 1000};
  Discovery d(options, locators::registry(), clock);
  const base::Fd fd = open_library();
  const Mapping mapping(fd.get());
  ASSERT_FALSE(settle(d, d.on_process(kSelf)).empty());
  std::filesystem::rename(library_, library_ + ".old");
  clock.advance_ns(10 * options.warm_ns);
  d.drop_idle();
  EXPECT_TRUE(d.take_gone().empty());
}

TEST_F(DiscoveryTest, TakesAMappingByItself) {
  Discovery d = make();
  const base::Fd fd = open_library();
  const Mapping mapping(fd.get());
  const auto found = settle(d, d.on_mmap(kSelf, mapping.begin(), mapping.end()));
  ASSERT_NE(of(found, library_), nullptr);
  EXPECT_EQ(d.stats().images, 1u);
}

TEST_F(DiscoveryTest, KnowsTheImageAfterARestartAndInACopy) {
  const base::Fd fd = open_library();
  const Mapping mapping(fd.get());
  {
    Discovery d = make();
    settle(d, d.on_mmap(kSelf, mapping.begin(), mapping.end()));
    EXPECT_EQ(d.stats().analysed, 1u);
  }
  // The worker saves when it runs out of work, at the latest before it ends.
  Discovery d = make();
  const auto found = d.on_mmap(kSelf, mapping.begin(), mapping.end());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(d.stats().from_cache, 1u);
  const std::string copy = directory_ + "/another.so";
  std::filesystem::copy_file(library_, copy);
  const base::Fd copied(open(copy.c_str(), O_RDONLY | O_CLOEXEC));
  const Mapping second(copied.get());
  const auto again = settle(d, d.on_mmap(kSelf, second.begin(), second.end()));
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(d.stats().analysed, 0u);
}

TEST_F(DiscoveryTest, UnlinkingARunningImageChangesNothing) {
  Discovery d = make();
  const base::Fd fd = open_library();
  const Mapping mapping(fd.get());
  ASSERT_EQ(settle(d, d.on_mmap(kSelf, mapping.begin(), mapping.end())).size(), 1u);
  std::filesystem::remove(library_);  // a new change time
  const auto found = settle(d, d.on_mmap(kSelf, mapping.begin(), mapping.end()));
  EXPECT_TRUE(found.empty());
  EXPECT_TRUE(d.take_gone().empty());
  EXPECT_EQ(d.stats().images, 1u);
  d.on_exit(kSelf);
  EXPECT_EQ(d.take_gone().size(), 1u);
}

TEST_F(DiscoveryTest, AnImageRewrittenInPlaceIsReplaced) {
  Discovery d = make();
  const base::Fd fd = open_library();
  const Mapping mapping(fd.get());
  const auto first = settle(d, d.on_mmap(kSelf, mapping.begin(), mapping.end()));
  ASSERT_EQ(first.size(), 1u);
  {
    std::fstream file(library_, std::ios::binary | std::ios::in | std::ios::out);
    file.put('X');  // no ELF image any more
  }
  EXPECT_TRUE(settle(d, d.on_mmap(kSelf, mapping.begin(), mapping.end())).empty());
  EXPECT_EQ(d.take_gone(), std::vector<std::uint64_t>{first[0].id});
  EXPECT_TRUE(d.images_of(kSelf).empty());
}

TEST_F(DiscoveryTest, ForgetsProcessesThatEndedUnnoticed) {
  Discovery d = make();
  const base::Fd fd = open_library();
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  const pid_t child = fork();
  if (child == 0) {
    const Mapping mapping(fd.get());
    if (write(pipes[1], "x", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  char ready;
  ASSERT_EQ(read(pipes[0], &ready, 1), 1);
  std::filesystem::remove(library_);
  const auto found = settle(d, d.on_process(static_cast<Pid>(child)));
  ASSERT_NE(of(found, library_), nullptr);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  settle(d, d.scan_all());
  EXPECT_TRUE(d.images_of(static_cast<Pid>(child)).empty());
  const auto gone = d.take_gone();
  EXPECT_TRUE(std::find(gone.begin(), gone.end(), of(found, library_)->id) != gone.end());
  close(pipes[0]);
  close(pipes[1]);
}

TEST_F(DiscoveryTest, AChildMapsWhatItsParentMaps) {
  Discovery d = make();
  const base::Fd fd = open_library();
  const Mapping mapping(fd.get());
  const auto found = settle(d, d.on_mmap(kSelf, mapping.begin(), mapping.end()));
  ASSERT_EQ(found.size(), 1u);
  const Pid child = 4'000'000'000;  // no such process: nothing is read
  d.on_fork(kSelf, child);
  ASSERT_EQ(d.images_of(child).size(), 1u);
  EXPECT_EQ(d.images_of(child)[0].id, found[0].id);
  d.on_exit(child);
  EXPECT_TRUE(d.images_of(child).empty());
  EXPECT_EQ(d.images_of(kSelf).size(), 1u);
}

TEST_F(DiscoveryTest, PreattachesTheSystemLibrary) {
  Discovery d = make();
  const auto found = settle(d, d.preattach());
  EXPECT_TRUE(
      std::any_of(found.begin(), found.end(), [](const ImageFound& f) { return f.path == kLibssl && f.pids.empty(); }));
}

TEST_F(DiscoveryTest, StaysWithinItsTable) {
  Discovery d({"", "test", 3}, locators::registry(), clock_);
  settle(d, d.on_process(kSelf));
  EXPECT_LE(d.stats().images, 3u);
  EXPECT_GT(d.stats().refused, 0u);
}

TEST_F(DiscoveryTest, LeavesNoDescriptorsOpen) {
  const auto count = [] { return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}); };
  const auto before = count();
  {
    Discovery d = make();
    settle(d, d.on_process(kSelf));
    settle(d, d.preattach());
  }
  EXPECT_EQ(count(), before);
}

}  // namespace
}  // namespace penstock::discovery
