// Agents that start agents: who pays, what is inherited, how deep it may go.
#include "userspace/pipeline/test_rig.h"

namespace penstock::pipeline {
namespace {

constexpr char kModel[] = "gpt-4o-mini";

class DelegationTest : public PipelineTest {
 protected:
  // 7 started 8, which started 9.
  void SetUp() override {
    PipelineTest::SetUp();
    subjects_.living = {7, 8, 9, 10};
    subjects_.started_by = {{8, 7}, {9, 8}};
  }
  // Whether a request of that process reached the network.
  bool leaves(std::uint32_t tgid, std::string_view model = kModel) {
    const auto c = kernel_.connect(tgid);
    kernel_.write(c, chat_request(model, 10));
    kernel_.pump();
    const bool left = !received(c).empty();
    if (left) kernel_.answer(c, chat_answer(model, 100, 10));
    return left;
  }
};

TEST_F(DelegationTest, AParentsBudgetCoversWhatItStarts) {
  apply(
      "kind: Policy\nname: p\nmatch: { agent: agent-7 }\nmode: enforce\nbudgets:\n"
      "  - { name: n, per: [agent], requests: 2 }\n");
  EXPECT_TRUE(leaves(7));
  EXPECT_TRUE(leaves(9));
  EXPECT_EQ(spent("p", "n", "agent=agent-7"), 2);
  EXPECT_FALSE(leaves(8));
  EXPECT_EQ(last().verdict.policy, "p");
  EXPECT_TRUE(leaves(10)) << "nobody's child";
}

TEST_F(DelegationTest, OneAccountIsChargedOnceForACallThatItCoversTwice) {
  apply("kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: n, requests: 10 }\n");
  EXPECT_TRUE(leaves(9));
  EXPECT_EQ(spent("p", "n"), 1);
}

TEST_F(DelegationTest, DeniesAreInheritedAndBudgetsNotWhereThePolicySaysSo) {
  apply(
      "kind: Policy\nname: p\nmatch: { agent: agent-7 }\nmode: enforce\ndelegation: { inherit: [denies] }\nbudgets:\n"
      "  - { name: n, requests: 1 }\nrules:\n  - { deny: { model: gpt-4o } }\n");
  EXPECT_FALSE(leaves(9, "gpt-4o"));
  EXPECT_EQ(last().verdict.reason, "rule");
  EXPECT_TRUE(leaves(9));
  EXPECT_TRUE(leaves(9));
  EXPECT_EQ(spent("p", "n"), 0);
}

TEST_F(DelegationTest, DepthCountsTheAgentsAbove) {
  apply("kind: Policy\nname: p\nmode: enforce\ndelegation: { max_depth: 1 }\n");
  EXPECT_TRUE(leaves(7));
  EXPECT_TRUE(leaves(8));
  EXPECT_FALSE(leaves(9));
  EXPECT_EQ(last().verdict.rule, "delegation.max_depth");
  subjects_.names[8] = "agent-7";  // a worker of the same agent is no step
  pipeline_->look_again(8);
  pipeline_->look_again(9);
  EXPECT_TRUE(leaves(9));
}

TEST_F(DelegationTest, WhatAnAgentStartedWaitsForVerdictsTooAlsoWhenThatIsLearntLater) {
  subjects_.started_by.clear();
  apply("kind: Policy\nname: p\nmatch: { agent: agent-7 }\nmode: enforce\nbudgets:\n  - { name: n, requests: 1 }\n");
  EXPECT_TRUE(kernel_.processes.contains(7));
  EXPECT_FALSE(kernel_.processes.contains(8));
  subjects_.started_by = {{8, 7}};
  pipeline_->look_again(8);
  ASSERT_TRUE(kernel_.processes.contains(8));
  EXPECT_EQ(kernel_.scopes.at(kernel_.processes.at(8)).mode, PN_MODE_ENFORCE);
  EXPECT_TRUE(leaves(8));
  EXPECT_FALSE(leaves(7));
}

}  // namespace
}  // namespace penstock::pipeline
