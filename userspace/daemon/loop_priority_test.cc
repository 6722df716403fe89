#include "userspace/daemon/loop_priority.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <thread>

namespace penstock::daemon {
namespace {

int policy() { return sched_getscheduler(0) & ~SCHED_RESET_ON_FORK; }
int nice_level() { return getpriority(PRIO_PROCESS, static_cast<id_t>(gettid())); }

// In a thread of its own: the rest of the tests keep their scheduling.
template <class Body>
void in_a_thread(Body body) {
  std::thread(body).join();
}

TEST(LoopPriority, IsRealTimeOnlyWhileARingIsFilling) {
  in_a_thread([] {
    constexpr std::uint64_t kNow = 50'000'000'000;
    LoopPriority priority;
    priority.follow(LoopPriority::kUrgentPermille - 1, true, kNow);
    EXPECT_EQ(policy(), SCHED_OTHER);
    priority.follow(LoopPriority::kUrgentPermille, true, kNow);
    EXPECT_EQ(policy(), SCHED_RR);
    priority.follow(0, false, kNow + LoopPriority::kUrgentNs - 1);  // caught up a moment ago
    EXPECT_EQ(policy(), SCHED_RR);
    in_a_thread([] { EXPECT_EQ(policy(), SCHED_OTHER); });  // what is started meanwhile is not urgent
    priority.follow(0, true, kNow + LoopPriority::kUrgentNs);
    EXPECT_EQ(policy(), SCHED_OTHER);
    EXPECT_EQ(priority.level(), LoopPriority::Level::kPrompt);
  });
}

TEST(LoopPriority, IsPromptWhileRequestsWaitForVerdictsAndPatientOtherwise) {
  in_a_thread([] {
    LoopPriority priority;
    priority.follow(0, false, 1);
    EXPECT_EQ(policy(), SCHED_BATCH);
    EXPECT_EQ(nice_level(), 0);
    priority.follow(0, true, 2);
    EXPECT_EQ(policy(), SCHED_OTHER);
    EXPECT_EQ(nice_level(), LoopPriority::kNice);
    in_a_thread([] { EXPECT_EQ(nice_level(), 0); });
    priority.follow(0, false, 3);
    EXPECT_EQ(policy(), SCHED_BATCH);
    EXPECT_EQ(nice_level(), 0);
  });
}

}  // namespace
}  // namespace penstock::daemon
