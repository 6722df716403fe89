#include "userspace/api/unix_socket.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "userspace/api/client.h"
#include "userspace/api/testing/raw_client.h"

namespace penstock::api {
namespace {

class UnixSocketTest : public ::testing::Test {
 protected:
  UnixSocketTest() {
    char folder[] = "/tmp/penstock-socket-XXXXXX";
    folder_ = ::mkdtemp(folder);
    path_ = folder_ + "/deep/s";
  }
  ~UnixSocketTest() override { std::filesystem::remove_all(folder_); }
  std::string folder_, path_;
};

TEST_F(UnixSocketTest, RefusesWhenSomebodyAnswersAndReplacesWhatIsStale) {
  {
    auto first = UnixListener::open(path_, "", 1);
    ASSERT_TRUE(first) << first.error().message();
    auto second = UnixListener::open(path_, "", 1);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, base::ErrorCode::kUnavailable);
    EXPECT_TRUE(testing::RawClient::unix_socket(path_).connected());  // undisturbed
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
  {  // what a killed daemon leaves behind
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    base::Fd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  EXPECT_TRUE(std::filesystem::exists(path_));
  auto third = UnixListener::open(path_, "", 1);
  ASSERT_TRUE(third) << third.error().message();
  EXPECT_TRUE(testing::RawClient::unix_socket(path_).connected());
}

TEST_F(UnixSocketTest, LeavesASuccessorsSocketAlone) {
  auto first = UnixListener::open(path_, "", 1);
  ASSERT_TRUE(first);
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  auto second = UnixListener::open(path_, "", 1);
  ASSERT_TRUE(second);
  { UnixListener gone = std::move(*first); }
  EXPECT_TRUE(testing::RawClient::unix_socket(path_).connected());
}

TEST_F(UnixSocketTest, DoesNotReplaceAFile) {
  std::filesystem::create_directories(folder_ + "/deep");
  std::ofstream(path_) << "precious";
  auto refused = UnixListener::open(path_, "", 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, base::ErrorCode::kUsage);
  EXPECT_EQ(std::filesystem::file_size(path_), 8u);
}

TEST_F(UnixSocketTest, SaysWhatIsWrong) {
  EXPECT_EQ(UnixListener::open(folder_ + "/" + std::string(200, 'x'), "", 1).error().code, base::ErrorCode::kUsage);
  EXPECT_EQ(UnixListener::open(path_, "no-such-group-here", 1).error().code, base::ErrorCode::kUsage);
  EXPECT_FALSE(UnixListener::open("/proc/penstock/s", "", 1));
}

TEST_F(UnixSocketTest, ClientSaysThatNobodyAnswers) {
  Client client(path_);
  auto status = client.call<Status>(GetStatusRequest());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, base::ErrorCode::kUnavailable);
  EXPECT_EQ(status.error().what, "no daemon answers on " + path_);
  EXPECT_FALSE(client.ready());
}

}  // namespace
}  // namespace penstock::api
