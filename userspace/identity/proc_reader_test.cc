#include "userspace/identity/proc_reader.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

namespace penstock::identity {
namespace {

TEST(ProcReader, ReadsThisProcess) {
  SystemProc proc;
  const auto self = proc.read(static_cast<std::uint32_t>(getpid()));
  ASSERT_TRUE(self);
  EXPECT_EQ(self->parent_pid, static_cast<std::uint32_t>(getppid()));
  EXPECT_TRUE(self->exe.ends_with("/identity_test"));
  ASSERT_FALSE(self->argv.empty());
  EXPECT_EQ(self->uid, geteuid());
  EXPECT_FALSE(self->kernel_thread);
  EXPECT_GT(self->key.start_boot_ns, 0u);
  EXPECT_EQ(self->key.start_boot_ns, whole_ticks(self->key.start_boot_ns));
  const auto pids = proc.pids();
  EXPECT_NE(std::find(pids.begin(), pids.end(), self->key.pid), pids.end());
}

TEST(ProcReader, SaysThatAProcessIsGone) {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, nullptr, 0);
  SystemProc proc;
  EXPECT_FALSE(proc.read(static_cast<std::uint32_t>(child)));
}

TEST(ProcReader, KnowsUsersByNameOrNumber) {
  SystemProc proc;
  EXPECT_EQ(proc.user_name(0), "root");
  EXPECT_EQ(proc.user_name(4'000'000'001), "4000000001");
}

TEST(ProcReader, ReadsStatWhateverTheNameHolds) {
  ProcFacts f;
  const std::string tail = " S 7 12 13 34816 12 4194304 99 0 0 0 0 0 0 0 20 0 1 0 4711 310272 3133440 355\n";
  ASSERT_TRUE(parse_stat("12 (a) b) R 1 (x)" + tail, f));
  EXPECT_EQ(f.comm, "a) b) R 1 (x");
  EXPECT_EQ(f.parent_pid, 7u);
  EXPECT_EQ(f.session, 13u);
  EXPECT_EQ(f.key.start_boot_ns, 47'110'000'000u);
  EXPECT_FALSE(parse_stat("12 (a", f));
  EXPECT_FALSE(parse_stat("12 (a) S 7", f));
  EXPECT_FALSE(parse_stat("", f));
}

TEST(ProcReader, TakesTheUnifiedHierarchyAndContainersFromTheOthers) {
  const std::string id(64, 'a');
  ProcFacts f;
  parse_cgroup("9:name=systemd:/docker/" + id + "\n4:memory:/docker/" + id + "\n0::/\n", f);
  EXPECT_EQ(f.cgroup, "/");
  EXPECT_EQ(f.container_cgroup, "/docker/" + id);
  ProcFacts g;
  parse_cgroup("1:cpu:/\n0::/system.slice/docker-" + id + ".scope\n", g);
  EXPECT_EQ(g.container_cgroup, "");
  ProcFacts h;
  parse_cgroup("garbage\n::\n", h);
  EXPECT_EQ(h.cgroup, "");
}

TEST(ProcReader, FindsTheMountOfTheUnifiedHierarchy) {
  EXPECT_EQ(
      find_cgroup2_mount("cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"),
      "/sys/fs/cgroup/unified");
  EXPECT_EQ(find_cgroup2_mount("x /with\\040blank cgroup2 rw 0 0\n"), "/with blank");
  EXPECT_EQ(find_cgroup2_mount("cgroup /sys/fs/cgroup cgroup rw 0 0\n"), "");
}

}  // namespace
}  // namespace penstock::identity
