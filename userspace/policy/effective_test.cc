// Which policies and budgets cover a subject, and what the kernel is told about it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "userspace/policy/compiled.h"
#include "userspace/policy/match.h"
#include "userspace/policy/testing.h"

namespace penstock::policy {
namespace {

using testing::compiled;
using ::testing::ElementsAre;
using testing::model_call;
using testing::parse;
using testing::subject;
using testing::tool_call;

TEST(Match, EveryKeyMustMatchAnyOfItsGlobs) {
  model::Subject s = subject("nightly");
  s.exe = "/usr/bin/python3.11";
  s.ns = "research";
  s.labels = {{"team", "platform"}};
  const auto covered = [&](std::string_view match) {
    return matches(
        parse("name: p\nmatch: { " + std::string(match) + " }\nrules: [{ deny: { model: x } }]\n").policies(0).match(),
        s);
  };
  EXPECT_TRUE(covered("agent: night*"));
  EXPECT_TRUE(covered("agent: [web, nightly], user: dev"));
  EXPECT_TRUE(covered("exe: \"*/python3*\""));
  EXPECT_TRUE(covered("label.team: plat*"));
  EXPECT_TRUE(covered("namespace: research"));
  EXPECT_TRUE(covered("pod: \"*\""));  // unknown is matched by `*` only
  EXPECT_FALSE(covered("pod: web-*"));
  EXPECT_FALSE(covered("agent: night*, user: root"));
  EXPECT_FALSE(covered("label.team: other"));
  EXPECT_FALSE(covered("label.owner: \"*\""));  // the label has to be there
}

TEST(Effective, SinglesOutBySomethingThatNotEverybodyHas) {
  const auto by = [](std::string_view policy, bool beyond_user) {
    const auto policies = compiled("name: p\nbudgets: [{ name: b, usd: 1 }]\n" + std::string(policy));
    return std::string(singled_out_by(effective(policies, subject("nightly")), beyond_user));
  };
  EXPECT_EQ(by("mode: enforce\nmatch: { agent: nightly }\n", true), "p");
  EXPECT_EQ(by("mode: strict\nmatch: { agent: [web, night*] }\n", true), "p");
  EXPECT_EQ(by("mode: enforce\nmatch: { user: dev }\n", false), "p");
  EXPECT_EQ(by("mode: enforce\nmatch: { user: dev }\n", true), "");
  EXPECT_EQ(by("mode: enforce\n", false), "");
  EXPECT_EQ(by("mode: strict\nmatch: { agent: \"*\" }\n", false), "");
  EXPECT_EQ(by("mode: enforce\nmatch: { agent: [nightly, \"*\"] }\n", false), "");
  EXPECT_EQ(by("mode: observe\nmatch: { agent: nightly }\n", false), "") << "it never acts";
  EXPECT_EQ(by("mode: enforce\nmatch: { agent: other }\n", false), "");
}

TEST(Effective, StrictestOfAllThatMatch) {
  const auto policies = compiled(R"(name: base
mode: enforce
deadline: 10s
on_failure: open
lease: { requests: 10, bytes: 1MiB }
budgets: [{ name: b, usd: 1 }]
---
name: tight
match: { agent: nightly }
mode: strict
deadline: 2s
on_failure: closed
lease: { requests: 5, bytes: 2MiB }
rules: [{ deny: { model: x } }]
---
name: watching
mode: observe
deadline: 1ms
on_failure: closed
lease: { requests: 0 }
rules: [{ deny: { model: y } }]
)");
  const ScopeSettings tight = scope_settings(effective(policies, subject("nightly")));
  EXPECT_EQ(tight.mode, model::Mode::kStrict);
  EXPECT_TRUE(tight.gated);
  EXPECT_TRUE(tight.deny_opaque);
  EXPECT_EQ(tight.on_failure, OnFailure::kClosed);
  EXPECT_EQ(tight.deadline_ns, 2'000'000'000u);
  EXPECT_EQ(tight.lease_requests, 5u);
  EXPECT_EQ(tight.lease_bytes, 1u << 20);

  const ScopeSettings web = scope_settings(effective(policies, subject("web")));
  EXPECT_EQ(web.mode, model::Mode::kEnforce);
  EXPECT_FALSE(web.deny_opaque);
  EXPECT_EQ(web.on_failure, OnFailure::kOpen);
  EXPECT_EQ(web.deadline_ns, 10'000'000'000u);
}

TEST(Effective, OnlyWhatMayRefuseIsGated) {
  const auto gated = [](std::string_view text) { return effective(compiled(text), subject("a")).gated; };
  EXPECT_TRUE(gated("name: p\nmode: enforce\nbudgets: [{ name: b, usd: 1 }]\n"));
  EXPECT_TRUE(gated("name: p\nmode: strict\n"));
  EXPECT_FALSE(gated("name: p\nmode: enforce\n"));
  EXPECT_FALSE(gated("name: p\nmode: observe\nbudgets: [{ name: b, usd: 1 }]\n"));
  EXPECT_FALSE(gated("name: p\nmatch: { agent: b }\nmode: enforce\nbudgets: [{ name: b, usd: 1 }]\n"));
}

TEST(Effective, DefaultsHoldWherePoliciesAreSilent) {
  api::Config::Defaults config;
  config.set_mode(api::MODE_ENFORCE);
  config.set_on_failure(api::ON_FAILURE_OPEN);
  config.set_deadline_ns(7);
  config.set_hold_ns(8);
  config.mutable_lease()->set_requests(9);
  const auto policies = compiled("name: p\nbudgets: [{ name: b, usd: 1, on_breach: hold }]\n", defaults_from(config));
  const Effective e = effective(policies, subject("a"));
  EXPECT_EQ(e.mode, model::Mode::kEnforce);
  EXPECT_EQ(e.on_failure, OnFailure::kOpen);
  EXPECT_EQ(e.deadline_ns, 7u);
  EXPECT_EQ(e.lease.requests, 9u);
  EXPECT_EQ(budgets(*policies)[0].hold_ns, 8u);
}

TEST(Budgets, OneForEachUnit) {
  const auto policies = compiled(
      "name: p\nmode: strict\nunpriced: allow\nbudgets:\n"
      "  - { name: all, per: [agent, model], usd: 25, tokens: 2M, requests: 1k, window: 1d, tz: Europe/Berlin, soft: "
      "[50%, 80%], on_breach: hold, hold: 5m }\n"
      "  - { name: life, requests: 3, on_stream: finish }\n");
  const auto specs = budgets(*policies);
  ASSERT_EQ(specs.size(), 4u);
  EXPECT_EQ(specs[0].name, "all.usd");
  EXPECT_EQ(specs[0].limit, 25'000'000'000);
  EXPECT_EQ(specs[1].name, "all.tokens");
  EXPECT_EQ(specs[1].limit, 2'000'000);
  EXPECT_EQ(specs[2].name, "all.requests");
  EXPECT_EQ(specs[3].name, "life");
  EXPECT_THAT(specs[0].per, ElementsAre("agent", "model"));
  EXPECT_THAT(specs[0].soft_permille, ElementsAre(500u, 800u));
  EXPECT_EQ(specs[0].window, "1d");
  EXPECT_EQ(specs[0].tz, "Europe/Berlin");
  EXPECT_EQ(specs[0].on_breach, BudgetSpec::OnBreach::kHold);
  EXPECT_EQ(specs[0].hold_ns, 300'000'000'000u);
  EXPECT_EQ(specs[0].mode, model::Mode::kStrict);
  EXPECT_TRUE(specs[0].allow_unpriced);
  EXPECT_TRUE(specs[0].cut_streams);
  EXPECT_EQ(specs[3].window, "");
  EXPECT_EQ(specs[3].on_breach, BudgetSpec::OnBreach::kDeny);
  EXPECT_FALSE(specs[3].cut_streams);
}

std::vector<std::string> charged(const Effective& e, const model::Exchange& exchange) {
  std::vector<BudgetUse> uses;
  charges_for(e, exchange, uses);
  std::vector<std::string> names;
  for (const BudgetUse& use : uses)
    names.push_back(budgets(*e.policies)[use.budget].name +
                    (use.payer == 0 ? "" : "@" + e.ancestors[use.payer - 1].agent));
  return names;
}

TEST(Budgets, CoverWhatTheySpeakOf) {
  const auto policies = compiled(
      "name: p\nbudgets:\n"
      "  - { name: money, usd: 1 }\n"
      "  - { name: calls, requests: 1 }\n"
      "  - { name: big, tokens: 1k, only: { model: \"gpt-5*\" } }\n");
  const Effective e = effective(policies, subject("a"));
  EXPECT_THAT(charged(e, model_call("openai", "gpt-5-mini")), ElementsAre("money", "calls", "big"));
  EXPECT_THAT(charged(e, model_call("openai", "o3")), ElementsAre("money", "calls"));
  EXPECT_THAT(charged(e, tool_call("search.web")), ElementsAre("calls"));
  EXPECT_TRUE(charged(e, model::Exchange{}).empty());
  model::Exchange unrecognised;  // HTTP to a provider that no parser understood
  unrecognised.provider = "openai";
  EXPECT_THAT(charged(e, unrecognised), ElementsAre("money", "calls"));
}

TEST(Inheritance, AParentsBudgetCoversItsSubAgents) {
  const auto policies = compiled(
      "name: parent\nmatch: { agent: boss }\nmode: enforce\nbudgets: [{ name: daily, per: [agent], usd: 1 }]\nrules: "
      "[{ deny: { model: x } }]\n---\n"
      "name: child\nmatch: { agent: worker }\nmode: observe\nbudgets: [{ name: own, usd: 1 }]\n---\n"
      "name: everyone\nbudgets: [{ name: each, per: [agent], requests: 5 }]\n---\n"
      "name: closed\nmatch: { agent: boss }\ndelegation: { inherit: [denies] }\nbudgets: [{ name: mine, usd: 1 }]\n");
  const std::vector<model::Subject> chain{subject("boss")};
  const Effective e = effective(policies, subject("worker"), chain);
  EXPECT_THAT(charged(e, model_call("openai", "o3")), ElementsAre("daily@boss", "own", "each", "each@boss"));
  EXPECT_EQ(e.mode, model::Mode::kEnforce);
  EXPECT_TRUE(e.gated);
  const Decision d = decide(model_call("openai", "x"), e, {});
  EXPECT_EQ(d.verdict.action, model::Action::kDeny);
  EXPECT_EQ(d.verdict.policy, "parent");
  EXPECT_FALSE(effective(policies, subject("worker")).gated);
}

TEST(RunPolicy, CoversExactlyThatRun) {
  RunLimits limits;
  limits.max_usd = model::NanoUsd{2'000'000'000};
  limits.max_tokens = 5000;
  limits.mode = model::Mode::kStrict;
  const std::string id = "Agent *?\\/123-456";
  api::PolicySet set;
  *set.add_policies() = run_policy(id, limits);
  EXPECT_EQ(set.policies(0).name(), "run-agent-----123-456");
  const auto policies = compile(set);
  ASSERT_TRUE(policies) << policies.error().what;
  model::Subject s = subject("x");
  s.run = id;
  EXPECT_EQ(effective(*policies, s).mode, model::Mode::kStrict);
  EXPECT_THAT(charged(effective(*policies, s), model_call("openai", "o3")), ElementsAre("max-usd", "max-tokens"));
  s.run = "Agent xx\\/123-456";
  EXPECT_TRUE(effective(*policies, s).matched.empty());
}

TEST(RunPolicy, WithoutLimitsStillNamesAMode) {
  api::PolicySet set;
  *set.add_policies() = run_policy("r", {});
  EXPECT_EQ(set.policies(0).mode(), api::MODE_ENFORCE);
  EXPECT_TRUE(compile(set));
}

}  // namespace
}  // namespace penstock::policy
