// Who may give orders: the rule itself, over made-up callers.
#include "userspace/daemon/authority.h"

#include <gtest/gtest.h>

#include "userspace/api/dispatch.h"
#include "userspace/api/selector.h"
#include "userspace/policy/testing.h"

namespace penstock::daemon {
namespace {

constexpr char kAboutRed[] = "name: team\nmode: enforce\nmatch: { agent: red }\nbudgets: [{ name: d, usd: 1 }]\n";
constexpr char kAboutDev[] = "name: devs\nmode: strict\nmatch: { user: dev }\n";
constexpr char kAboutAll[] = "name: all\nmode: enforce\nbudgets: [{ name: d, usd: 1 }]\n";
constexpr char kWatchingRed[] =
    "name: watching\nmode: observe\nmatch: { agent: red }\nbudgets: [{ name: d, usd: 1 }]\n";

Caller caller(std::string_view policies, const char* agent, bool acts_for_agent = false, bool root = true) {
  Caller out;
  out.known = true;
  out.root = root;
  out.acts_for_agent = acts_for_agent;
  model::Subject subject = policy::testing::subject(agent);
  subject.process.pid = 7;
  out.effective = policy::effective(policy::testing::compiled(policies), subject);
  return out;
}

api::KillList kills(std::string_view selector) {
  api::KillList out;
  *out.add_kills()->mutable_selector() = api::parse_selector(selector).value();
  return out;
}

std::string refusal(const Caller& who, const api::KillList& list = {}, std::string_view rpc = "Release") {
  const auto allowed = may_order(who, list, rpc);
  if (allowed) return {};
  EXPECT_EQ(allowed.error().code, base::ErrorCode::kPrivilege);
  EXPECT_FALSE(allowed.error().hint.empty());
  return allowed.error().what;
}

TEST(Authority, EveryRouteThatChangesSomethingIsAnOrder) {
  std::vector<std::string> questions;
  for (const api::Route& route : api::routes()) {
    const bool changes = route.method != "GET" && route.name != "CheckPolicy";
    EXPECT_EQ(is_order(route.name), changes) << route.name;
  }
  EXPECT_TRUE(is_order("WhatANewerVersionAdds"));
}

TEST(Authority, APolicyAboutTheCallerForbidsOrders) {
  EXPECT_EQ(refusal(caller(kAboutRed, "red")), "Release refused: process 7 (red) is governed by policy team");
  EXPECT_EQ(refusal(caller(kAboutRed, "blue")), "");
  EXPECT_EQ(refusal(caller(kAboutRed, "red"), {}, "ListBudgets"), "") << "it may look";
  EXPECT_EQ(refusal(caller(kWatchingRed, "red")), "");
}

TEST(Authority, APolicyAboutEverybodyForbidsThemToAgentsOnly) {
  EXPECT_EQ(refusal(caller(kAboutAll, "bash")), "") << "somebody has to administer the host";
  EXPECT_EQ(refusal(caller(kAboutAll, "bash", true)), "Release refused: process 7 (bash) acts for a governed agent");
  EXPECT_EQ(refusal(caller(kWatchingRed, "bash", true)), "") << "nothing governs it";
}

TEST(Authority, APolicyAboutAUserDoesNotLockRootOut) {
  EXPECT_NE(refusal(caller(kAboutDev, "bash", false, false)), "");
  EXPECT_EQ(refusal(caller(kAboutDev, "bash", false, true)), "");
  EXPECT_NE(refusal(caller(kAboutDev, "bash", true, true)), "");
}

TEST(Authority, WhoIsKilledCannotReleaseItself) {
  EXPECT_EQ(refusal(caller(kWatchingRed, "red"), kills("agent=red")),
            "Release refused: process 7 (red) is under kill agent=red");
  EXPECT_EQ(refusal(caller(kWatchingRed, "blue"), kills("agent=red")), "");
  EXPECT_EQ(refusal(caller(kWatchingRed, "bash"), kills("all")), "") << "who gave the order can take it back";
  EXPECT_NE(refusal(caller(kWatchingRed, "bash", true), kills("all")), "");
  EXPECT_EQ(refusal(caller(kWatchingRed, "bash"), kills("user=dev")), "");
  EXPECT_NE(refusal(caller(kWatchingRed, "bash", false, false), kills("user=dev")), "");
}

TEST(Authority, WhoCannotBeSeenOrdersNothing) {
  EXPECT_EQ(refusal(Caller{}), "Release refused: cannot see which process asks");
  EXPECT_EQ(refusal(Caller{}, {}, "GetStatus"), "");
}

}  // namespace
}  // namespace penstock::daemon
