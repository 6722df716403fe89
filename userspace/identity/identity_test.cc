#include "userspace/identity/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

namespace penstock::identity {
namespace {

using model::ProcessKey;

const std::string kContainer(64, 'c');
const std::string kPodUid = "8a1f0c3e-1b2c-4d5e-8f90-a1b2c3d4e5f6";

// A /proc whose processes the test writes down.
class FakeProc final : public ProcReader {
 public:
  std::vector<std::uint32_t> pids() override {
    std::vector<std::uint32_t> out;
    for (const auto& [pid, facts] : processes) out.push_back(pid);
    return out;
  }
  std::optional<ProcFacts> read(std::uint32_t pid) override {
    ++reads;
    const auto it = processes.find(pid);
    if (it == processes.end()) return std::nullopt;
    return it->second;
  }
  std::string user_name(std::uint32_t uid) override {
    return uid == 0 ? "root" : uid == 1000 ? "ann" : std::to_string(uid);
  }

  ProcFacts& add(std::uint32_t pid, std::uint32_t parent, std::vector<std::string> argv, std::string cgroup = "/") {
    ProcFacts f;
    f.key = key(pid);
    f.parent_pid = parent;
    f.exe = "/usr/bin/" + argv[0];
    if (argv[0][0] == '-') f.exe = "/usr/bin/" + argv[0].substr(1);
    f.comm = argv[0];
    f.argv = std::move(argv);
    f.cgroup = std::move(cgroup);
    return processes[pid] = std::move(f);
  }
  static ProcessKey key(std::uint32_t pid) { return {pid, pid * 10'000'000ull}; }
  std::map<std::uint32_t, ProcFacts> processes;
  int reads = 0;
};

class IdentityTest : public testing::Test {
 protected:
  void SetUp() override {
    proc_.add(1, 0, {"systemd"});
    proc_.add(10, 1, {"sshd"});
    proc_.add(11, 10, {"-bash"});
  }
  Identity& start() {
    identity_.scan();
    return identity_;
  }
  static ProcessKey key(std::uint32_t pid) { return FakeProc::key(pid); }
  void fork_exec(std::uint32_t parent, std::uint32_t pid, std::vector<std::string> argv, std::string cgroup = "/") {
    proc_.add(pid, parent, std::move(argv), std::move(cgroup));
    identity_.on_fork(parent, pid, key(pid).start_boot_ns);
    identity_.on_exec(pid, key(pid).start_boot_ns, proc_.processes[pid].exe);
  }
  void end(std::uint32_t pid) {
    proc_.processes.erase(pid);
    identity_.on_exit(pid, key(pid).start_boot_ns);
  }
  std::vector<std::string> chain(std::uint32_t pid) {
    std::vector<std::string> out;
    for (const Link& l : identity_.delegation(key(pid)).chain) out.push_back(l.agent);
    return out;
  }
  FakeProc proc_;
  base::ManualClock clock_{1'000'000'000'000, 0};
  Identity identity_{{.max_processes = 200, .max_pods = 4, .grace_ns = 30'000'000'000}, proc_, clock_};
};

TEST_F(IdentityTest, AProgramWithAScriptIsAnAgentAndItsTreeIsARun) {
  start();
  fork_exec(11, 20, {"python3", "agent.py"});
  const model::Subject s = identity_.resolve(key(20));
  EXPECT_EQ(s.agent, "python3:agent.py");
  EXPECT_EQ(s.run, "python3:agent.py/20-20");
  EXPECT_EQ(s.run_root, key(20));
  EXPECT_EQ(s.exe, "/usr/bin/python3");
  EXPECT_EQ(s.user, "root");
  EXPECT_EQ(s.cgroup, "/");
}

TEST_F(IdentityTest, OtherUsersAreOtherAgents) {
  proc_.add(20, 11, {"claude"}).uid = 1000;
  start();
  EXPECT_EQ(identity_.resolve(key(20)).agent, "claude@ann");
}

TEST_F(IdentityTest, WorkersAndShellsInBetweenBelongToTheRun) {
  start();
  fork_exec(11, 20, {"python3", "agent.py"});
  identity_.on_fork(20, 21, key(21).start_boot_ns);  // a worker: no exec
  EXPECT_EQ(identity_.resolve(key(21)).run, "python3:agent.py/20-20");
  fork_exec(21, 22, {"sh", "-c", "python3 agent.py --child"});
  fork_exec(22, 23, {"python3", "agent.py", "--child"});
  EXPECT_EQ(identity_.resolve(key(23)).run_root, key(20));
}

TEST_F(IdentityTest, ARunEndsAtAnInteractiveShell) {
  start();
  fork_exec(11, 20, {"claude"});
  fork_exec(20, 21, {"bash", "-i"});
  fork_exec(21, 22, {"claude"});
  EXPECT_EQ(identity_.resolve(key(22)).run_root, key(22));
}

TEST_F(IdentityTest, ARunKeepsItsRootWhenTheLauncherEnds) {
  start();
  fork_exec(11, 20, {"python3", "agent.py"});
  fork_exec(20, 21, {"python3", "agent.py"});
  end(20);
  proc_.processes[21].parent_pid = 1;  // adopted
  clock_.advance_ns(60'000'000'000);
  identity_.expire();
  EXPECT_EQ(identity_.resolve(key(21)).run, "python3:agent.py/20-20");
  end(21);
  clock_.advance_ns(60'000'000'000);
  identity_.expire();
  EXPECT_EQ(identity_.stats().processes, 3u);
}

TEST_F(IdentityTest, DelegationNamesTheAgentsAboveAndTheOrigin) {
  start();
  fork_exec(11, 20, {"make"});
  fork_exec(20, 21, {"claude"});
  fork_exec(21, 22, {"bash", "-c", "python3 sub.py"});
  fork_exec(22, 23, {"python3", "sub.py"});
  fork_exec(23, 24, {"curl"});
  identity_.note_agent(key(21));
  identity_.note_agent(key(23));
  EXPECT_THAT(chain(24), testing::ElementsAre("claude", "python3:sub.py", "curl"));
  const Delegation d = identity_.delegation(key(24));
  EXPECT_EQ(d.origin, Delegation::Origin::kSession);
  EXPECT_EQ(d.by, "bash");
  EXPECT_EQ(d.chain[0].root, key(21));
}

TEST_F(IdentityTest, WhatAnAgentStartsActsForIt) {
  start();
  fork_exec(11, 20, {"claude"});
  fork_exec(20, 21, {"-bash"});  // a terminal of its own is no way out
  fork_exec(21, 22, {"penstock"});
  fork_exec(11, 23, {"penstock"});
  EXPECT_FALSE(identity_.acts_for_agent(key(22)));
  identity_.note_agent(key(20));
  EXPECT_TRUE(identity_.acts_for_agent(key(22)));
  EXPECT_FALSE(identity_.acts_for_agent(key(23)));
  end(21);
  proc_.processes[22].parent_pid = 1;  // nor is another parent
  EXPECT_TRUE(identity_.acts_for_agent(key(22)));
  identity_.assign_run(key(23), {"demo-1", "demo", 0});
  EXPECT_TRUE(identity_.acts_for_agent(key(23)));
}

TEST_F(IdentityTest, OriginsAreTold) {
  proc_.add(30, 1, {"cron"});
  proc_.add(31, 30, {"python3", "nightly.py"});
  proc_.add(40, 1, {"agentd"}, "/system.slice/mail.service");
  proc_.add(50, 1, {"containerd-shim-runc-v2"});
  proc_.add(51, 50, {"python3", "x.py"}, "/docker/" + kContainer);
  start();
  EXPECT_EQ(identity_.delegation(key(31)).origin, Delegation::Origin::kSchedule);
  EXPECT_EQ(identity_.delegation(key(40)).origin, Delegation::Origin::kService);
  EXPECT_EQ(identity_.delegation(key(40)).by, "mail.service");
  EXPECT_EQ(identity_.delegation(key(51)).origin, Delegation::Origin::kContainer);
  EXPECT_EQ(identity_.delegation(key(999)).origin, Delegation::Origin::kUnknown);
}

TEST_F(IdentityTest, AServiceIsNamedByItsUnitUnlessItHostsOthers) {
  proc_.add(40, 1, {"python3", "x.py"}, "/system.slice/mail.service");
  proc_.add(41, 1, {"python3", "y.py"}, "/system.slice/cron.service");
  proc_.add(42, 11, {"python3", "z.py"}, "/user.slice/user-0.slice/session-1.scope");
  start();
  EXPECT_EQ(identity_.resolve(key(40)).agent, "mail.service");
  EXPECT_EQ(identity_.resolve(key(40)).unit, "mail.service");
  EXPECT_EQ(identity_.resolve(key(41)).agent, "python3:y.py");
  EXPECT_EQ(identity_.resolve(key(42)).agent, "python3:z.py");
  EXPECT_EQ(identity_.resolve(key(42)).unit, "session-1.scope");
}

TEST_F(IdentityTest, APodIsNamedByItsWorkloadOnceThatIsKnown) {
  proc_.add(50, 1, {"python3", "x.py"}, "/kubepods/burstable/pod" + kPodUid + "/" + kContainer);
  start();
  EXPECT_EQ(identity_.resolve(key(50)).agent, "python3:x.py");
  EXPECT_EQ(identity_.resolve(key(50)).labels.at("pod_uid"), kPodUid);
  EXPECT_EQ(identity_.resolve(key(50)).pod, "");
  identity_.set_pod(kPodUid,
                    {"crawler-7d9f-x", "research", "deployment/crawler", {{kContainer, "main"}}, {{"team", "search"}}});
  const model::Subject s = identity_.resolve(key(50));
  EXPECT_EQ(s.agent, "research/deployment/crawler/main");
  EXPECT_EQ(s.ns, "research");
  EXPECT_EQ(s.pod, "crawler-7d9f-x");
  EXPECT_EQ(s.container, "main");
  EXPECT_EQ(s.labels.at("team"), "search");
  identity_.forget_pod(kPodUid);
  EXPECT_EQ(identity_.resolve(key(50)).agent, "python3:x.py");
}

TEST_F(IdentityTest, AnExplicitRunCoversWhatExistsAndWhatIsStartedLater) {
  start();
  fork_exec(11, 20, {"bash", "-c", "x"});
  fork_exec(20, 21, {"python3", "agent.py"});
  identity_.assign_run(key(20), {"run-7", "crawler", 9});
  fork_exec(21, 22, {"curl"});
  for (const std::uint32_t pid : {20u, 21u, 22u}) {
    const model::Subject s = identity_.resolve(key(pid));
    EXPECT_EQ(s.run, "run-7");
    EXPECT_EQ(s.agent, "crawler");
    EXPECT_EQ(s.scope_id, 9u);
    EXPECT_EQ(s.run_root, key(20));
  }
  EXPECT_THAT(identity_.processes_of_run("run-7"), testing::ElementsAre(key(20), key(21), key(22)));
  EXPECT_EQ(identity_.delegation(key(22)).origin, Delegation::Origin::kRun);
  EXPECT_THAT(chain(22), testing::ElementsAre("crawler"));
}

TEST_F(IdentityTest, ARunInsideARunIsDelegated) {
  start();
  fork_exec(11, 20, {"claude"});
  identity_.assign_run(key(20), {"outer", "boss", 1});
  fork_exec(20, 21, {"python3", "x.py"});
  identity_.assign_run(key(21), {"inner", "worker", 2});
  fork_exec(21, 22, {"curl"});
  EXPECT_THAT(chain(22), testing::ElementsAre("boss", "worker"));
}

TEST_F(IdentityTest, TheConfigurationNamesAgents) {
  proc_.add(20, 11, {"python3", "x.py"}, "/teams/red");
  start();
  EXPECT_EQ(identity_.resolve(key(20)).agent, "python3:x.py");
  identity_.set_namer([](const model::Subject& s) -> std::optional<std::string> {
    if (s.cgroup == "/teams/red") return "red";
    return std::nullopt;
  });
  EXPECT_EQ(identity_.resolve(key(20)).agent, "red");
  EXPECT_EQ(identity_.resolve(key(11)).agent, "bash");
}

TEST_F(IdentityTest, AMoveToAnotherCgroupIsNoticedByItsEvents) {
  proc_.add(20, 11, {"python3", "x.py"}, "/a").cgroup_id = 5;
  start();
  EXPECT_EQ(identity_.resolve(key(20), 5).cgroup, "/a");
  proc_.processes[20].cgroup = "/b";
  proc_.processes[20].cgroup_id = 6;
  EXPECT_EQ(identity_.resolve(key(20), 5).cgroup, "/a");
  EXPECT_EQ(identity_.resolve(key(20), 6).cgroup, "/b");
}

TEST_F(IdentityTest, EventsThatComeLateFindTheProcessThatEnded) {
  start();
  fork_exec(11, 20, {"python3", "x.py"});
  end(20);
  EXPECT_EQ(identity_.resolve(key(20)).agent, "python3:x.py");
  // Its pid is in use again: another process.
  proc_.add(20, 11, {"curl"}).key.start_boot_ns += 50'000'000;
  EXPECT_EQ(identity_.resolve(key(20)).agent, "python3:x.py");
  EXPECT_EQ(identity_.resolve(*identity_.key_of(20)).agent, "curl");
  clock_.advance_ns(31'000'000'000);
  identity_.expire();
  EXPECT_EQ(identity_.resolve(key(20)).agent, "");
}

TEST_F(IdentityTest, AProcessThatWasTooQuickIsNamedByItsEvent) {
  start();
  identity_.on_fork(11, 20, key(20).start_boot_ns);
  identity_.on_exec(20, key(20).start_boot_ns + 1234, "/usr/bin/curl");  // the kernel's time is finer than a tick
  identity_.on_exit(20, key(20).start_boot_ns + 1234);
  EXPECT_EQ(identity_.resolve(key(20)).agent, "curl");
  EXPECT_EQ(identity_.resolve(key(20)).cgroup, "/");
  EXPECT_EQ(identity_.stats().unread, 1u);
}

TEST_F(IdentityTest, AProcessThatIsEndingIsNamedByItsEvent) {
  start();
  identity_.on_fork(11, 20, key(20).start_boot_ns);
  proc_.add(20, 11, {"curl"}).exe.clear();
  identity_.on_exec(20, key(20).start_boot_ns, "/usr/bin/curl");
  EXPECT_EQ(identity_.resolve(key(20)).exe, "/usr/bin/curl");
}

TEST_F(IdentityTest, AProgramThatRanItselfAgainAndWasTooQuickIsWhatItWas) {
  start();
  identity_.on_fork(11, 20, key(20).start_boot_ns);
  identity_.on_exec(20, key(20).start_boot_ns, "/proc/self/exe");
  identity_.on_exit(20, key(20).start_boot_ns);
  EXPECT_EQ(identity_.resolve(key(20)).exe, identity_.resolve(key(11)).exe);
  EXPECT_NE(identity_.resolve(key(20)).exe, "");
}

TEST_F(IdentityTest, AnUnknownProcessHasOnlyItsKey) {
  start();
  const model::Subject s = identity_.resolve({77, 770'000'000}, 5);
  EXPECT_EQ(s.process, key(77));
  EXPECT_EQ(s.agent, "");
  EXPECT_EQ(s.user, "");
  EXPECT_EQ(s.cgroup_id, 5u);
}

TEST_F(IdentityTest, AReusedPidEndsTheProcessThatHadIt) {
  start();
  fork_exec(11, 20, {"python3", "x.py"});
  const ProcessKey later{20, 900'000'000};
  identity_.on_fork(11, 20, later.start_boot_ns);  // its exit was lost
  EXPECT_EQ(*identity_.key_of(20), later);
  EXPECT_EQ(identity_.stats().ended, 1u);
}

TEST_F(IdentityTest, AScanRepairsWhatLostEventsLeft) {
  start();
  fork_exec(11, 20, {"python3", "x.py"});
  proc_.processes.erase(20);
  proc_.add(21, 11, {"claude"});
  identity_.scan();
  EXPECT_EQ(identity_.resolve(key(21)).run_root, key(21));
  clock_.advance_ns(31'000'000'000);
  identity_.expire();
  EXPECT_EQ(identity_.stats().processes, 4u);
}

// Random fork, exec and exit, some lost: the table stays within its bound, and every living process can be resolved.
TEST_F(IdentityTest, StaysBoundedUnderChurn) {
  start();
  std::mt19937 random(1);
  std::vector<std::uint32_t> alive = {11};
  std::uint32_t next = 100;
  for (int i = 0; i < 20'000; ++i) {
    const std::uint32_t parent = alive[random() % alive.size()];
    if (random() % 2 == 0 && alive.size() < 100) {
      const std::uint32_t pid = next++;
      if (random() % 10 != 0) identity_.on_fork(parent, pid, key(pid).start_boot_ns);
      proc_.add(pid, parent, {"python3", "x.py"});
      if (random() % 2 == 0) identity_.on_exec(pid, key(pid).start_boot_ns, "/usr/bin/python3");
      alive.push_back(pid);
    } else if (parent != 11) {
      if (random() % 10 != 0)
        end(parent);
      else
        proc_.processes.erase(parent);
      alive.erase(std::find(alive.begin(), alive.end(), parent));
    }
    clock_.advance_ns(random() % 1'000'000'000);
    if (i % 16 == 0) identity_.expire();
    if (i % 1000 == 0) identity_.scan();
    ASSERT_LE(identity_.stats().processes, 200u);
  }
  identity_.scan();
  for (const std::uint32_t pid : alive) EXPECT_NE(identity_.resolve(key(pid)).agent, "") << pid;
  for (const std::uint32_t pid : std::vector(alive)) {
    if (pid != 11) end(pid);
  }
  clock_.advance_ns(60'000'000'000);
  identity_.expire();
  EXPECT_EQ(identity_.stats().processes, 3u);
}

TEST_F(IdentityTest, RemembersBoundedNumbersOfPods) {
  for (int i = 0; i < 100; ++i) identity_.set_pod(std::to_string(i), {});
  identity_.forget_pod("none");
  SUCCEED();
}

}  // namespace
}  // namespace penstock::identity
