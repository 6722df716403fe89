#include "userspace/discovery/plan_cache.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

namespace penstock::discovery {
namespace {

using locators::Analysis;
using locators::CallShape;

Analysis sample() {
  Analysis a;
  a.plans.push_back({"openssl",
                     {{0x1000, true, 0x1000, CallShape::kTlsWriteOut, "ssl_write_internal"},
                      {0x2000, false, 0, CallShape::kTlsReadRet, "SSL_read"}},
                     "a note"});
  a.misses.push_back({"boringssl", "no reason codes"});
  return a;
}

class PlanCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/plan_cache_test.XXXXXX";
    directory_ = mkdtemp(pattern);
    path_ = directory_ + "/plans";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  void fill() {
    PlanCache cache(path_, "build-1");
    cache.put({1, 2, 3, 4, 5}, cache.content_key(content_), sample());
    cache.put({1, 9, 3, 4, 5}, cache.content_key({}), {});
    ASSERT_TRUE(cache.save());
  }
  std::vector<char> file() {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::vector<char>& bytes) {
    std::ofstream out(path_, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  std::string directory_, path_;
  const std::vector<std::uint8_t> content_ = {1, 2, 3};
};

TEST_F(PlanCacheTest, RemembersAcrossRestarts) {
  fill();
  PlanCache cache(path_, "build-1");
  cache.load();
  EXPECT_EQ(cache.find(FileStamp{1, 2, 3, 4, 5}), sample());
  EXPECT_EQ(cache.find(FileStamp{1, 9, 3, 4, 5}), Analysis{});
  EXPECT_EQ(cache.find(FileStamp{1, 2, 3, 4, 6}), std::nullopt);
  // The key was kept too: the same bytes in another file are known.
  EXPECT_EQ(cache.find(cache.content_key(content_)), sample());
}

TEST_F(PlanCacheTest, BelievesNoOtherBuild) {
  fill();
  PlanCache cache(path_, "build-2");
  cache.load();
  EXPECT_EQ(cache.size(), 0u);
}

TEST_F(PlanCacheTest, BelievesNoFileThatOthersCanChange) {
  fill();
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);
  PlanCache cache(path_, "build-1");
  cache.load();
  EXPECT_EQ(cache.size(), 0u);
}

TEST_F(PlanCacheTest, HashesUnderAKeyOfItsOwn) {
  PlanCache a("", "x"), b("", "x");
  EXPECT_NE(a.content_key(content_), b.content_key(content_));
  EXPECT_EQ(a.content_key(content_), a.content_key(content_));
}

TEST_F(PlanCacheTest, SurvivesTruncationAtEveryByte) {
  fill();
  const std::vector<char> whole = file();
  for (std::size_t n = 0; n < whole.size(); ++n) {
    write({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)});
    PlanCache cache(path_, "build-1");
    cache.load();
    EXPECT_LE(cache.size(), 2u);
  }
}

TEST_F(PlanCacheTest, BelievesNoDamagedRecord) {
  fill();
  const std::vector<char> whole = file();
  std::mt19937 random(11);
  for (int round = 0; round < 500; ++round) {
    auto damaged = whole;
    const std::size_t at = random() % damaged.size();
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
    write(damaged);
    PlanCache cache(path_, "build-1");
    cache.load();
    if (const auto found = cache.find(FileStamp{1, 2, 3, 4, 5})) {
      EXPECT_EQ(*found, sample());
    }
  }
}

TEST_F(PlanCacheTest, StaysBounded) {
  PlanCache cache("", "x");
  for (std::uint64_t i = 0; i < PlanCache::kMaxEntries + 10; ++i) {
    ContentKey key;
    key.size = i;
    cache.put({1, i, 0, 0, 0}, key, {});
  }
  EXPECT_LE(cache.size(), PlanCache::kMaxEntries);
}

}  // namespace
}  // namespace penstock::discovery
