#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "exporters/core/exporter.h"

namespace penstock::exporters {
extern const ExporterPlugin k_jsonl;
namespace {

std::string text_of(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

class JsonlTest : public ::testing::Test {
 protected:
  JsonlTest() {
    char folder[] = "/tmp/penstock-jsonl-XXXXXX";
    folder_ = ::mkdtemp(folder);
    path_ = folder_ + "/out.jsonl";
  }
  ~JsonlTest() override { std::filesystem::remove_all(folder_); }
  std::string folder_, path_;
};

TEST_F(JsonlTest, AppendsOneLinePerExchange) {
  for (int run = 0; run < 2; ++run) {
    auto exporter = k_jsonl.make({{"path", path_}});
    ASSERT_TRUE(exporter) << exporter.error().message();
    model::Exchange x;
    for (x.id = 1; x.id <= 3; ++x.id) (*exporter)->on_exchange(x);
  }
  std::istringstream lines(text_of(path_));
  std::string line;
  int n = 0;
  while (std::getline(lines, line)) {
    EXPECT_TRUE(line.starts_with("{\"id\":" + std::to_string(n % 3 + 1)));
    EXPECT_TRUE(line.ends_with("}"));
    ++n;
  }
  EXPECT_EQ(n, 6);
}

TEST_F(JsonlTest, FollowsRotation) {
  auto exporter = k_jsonl.make({{"path", path_}});
  ASSERT_TRUE(exporter);
  std::filesystem::rename(path_, path_ + ".1");
  (*exporter)->on_exchange({});
  exporter->reset();
  EXPECT_EQ(text_of(path_ + ".1"), "");
  EXPECT_NE(text_of(path_), "");
}

TEST_F(JsonlTest, CountsWhatTheDiskDidNotTake) {
  auto exporter = k_jsonl.make({{"path", "/dev/full"}});
  ASSERT_TRUE(exporter);
  (*exporter)->on_exchange({});
  while ((*exporter)->dropped() == 0) std::this_thread::yield();
  EXPECT_EQ((*exporter)->dropped(), 1u);
}

TEST_F(JsonlTest, SaysWhatIsMissing) {
  EXPECT_FALSE(k_jsonl.make({}));
  EXPECT_FALSE(k_jsonl.make({{"path", folder_ + "/no/such/folder"}}));
  EXPECT_FALSE(k_jsonl.make({{"path", path_}, {"queue_bytes", "many"}}));
}

}  // namespace
}  // namespace penstock::exporters
