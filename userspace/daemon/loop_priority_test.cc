#include "userspace/daemon/loop_priority.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

namespace penstock::daemon {
namespace {

int policy() { return sched_getscheduler(0) & ~SCHED_RESET_ON_FORK; }

TEST(LoopPriority, IsRealTimeOnlyWhileARingIsFilling) {
  // In a thread of its own: the rest of the tests keep their scheduling.
  std::thread([] {
    constexpr std::uint64_t kNow = 50'000'000'000;
    LoopPriority priority;
    priority.follow(LoopPriority::kUrgentPermille - 1, kNow);
    EXPECT_EQ(policy(), SCHED_OTHER);
    priority.follow(LoopPriority::kUrgentPermille, kNow);
    EXPECT_EQ(policy(), SCHED_RR);
    priority.follow(0, kNow + LoopPriority::kUrgentNs - 1);  // caught up a moment ago
    EXPECT_EQ(policy(), SCHED_RR);
    std::thread([] { EXPECT_EQ(policy(), SCHED_OTHER); }).join();  // what is started meanwhile is not urgent
    priority.follow(0, kNow + LoopPriority::kUrgentNs);
    EXPECT_EQ(policy(), SCHED_OTHER);
    EXPECT_FALSE(priority.urgent());
  }).join();
}

}  // namespace
}  // namespace penstock::daemon
