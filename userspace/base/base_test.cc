#include <gtest/gtest.h>

#include "userspace/base/atomic_file.h"
#include "userspace/base/clock.h"
#include "userspace/base/fd.h"
#include "userspace/base/log.h"
#include "userspace/base/redacted.h"
#include "userspace/base/result.h"

namespace penstock::base {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return Error{ErrorCode::kUsage, 0, "odd", "pass an even number"};
  return n / 2;
}
Result<int> quarter(int n) {
  PN_TRY(int h, half(n));
  PN_TRY(int q, half(h));
  return q;
}

TEST(Result, PropagatesTheFirstError) {
  EXPECT_EQ(*quarter(8), 2);
  auto failed = quarter(6);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().what, "odd");
  EXPECT_EQ(std::move(failed).error().at("quarter").what, "quarter: odd");
}

TEST(Error, MessageNamesErrno) {
  Error e = errno_error(EACCES, "open /x");
  EXPECT_EQ(e.message(), "open /x (Permission denied)");
  EXPECT_EQ(e.code, ErrorCode::kPrivilege);
}

TEST(Redacted, FormatsAsItsSize) { EXPECT_EQ(fmt::format("{}", Redacted<std::string>("secret")), "<6 bytes>"); }

TEST(AtomicFile, ReplacesTheWholeContent) {
  const std::string path = testing::TempDir() + "/penstock_atomic_" + std::to_string(::getpid());
  ASSERT_TRUE(write_file_atomically(path, "one and a half").has_value());
  ASSERT_TRUE(write_file_atomically(path, "two").has_value());
  EXPECT_EQ(read_small_file(path).value(), "two");
  EXPECT_FALSE(read_small_file(path, 2).has_value());
  EXPECT_NE(::access((path + ".tmp").c_str(), F_OK), 0);
  ::unlink(path.c_str());
  EXPECT_EQ(read_small_file(path).error().errno_, ENOENT);
  EXPECT_FALSE(write_file_atomically("/nonexistent/folder/file", "x").has_value());
}

TEST(ManualClock, MovesOnlyWhenTold) {
  ManualClock clock(5, 7);
  clock.advance_ns(10);
  EXPECT_EQ(clock.boot_ns(), 15u);
  EXPECT_EQ(clock.real_ns(), 17);
}

}  // namespace
}  // namespace penstock::base
