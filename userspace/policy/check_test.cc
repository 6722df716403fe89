// What `policy check` says, and what `diff` and `explain` print.
#include "userspace/policy/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "userspace/policy/testing.h"

namespace penstock::policy {
namespace {

using testing::complaints;
using ::testing::ElementsAre;
using testing::full_support;
using ::testing::HasSubstr;
using testing::parse;

std::string said(std::string_view body, const Support& support = full_support()) {
  return complaints(read_policies("kind: Policy\nname: p\n" + std::string(body), "p.yaml", support).diagnostics);
}

TEST(Check, SaysWhatIsWrongAndWhere) {
  struct Case {
    const char* body;
    const char* complaint;
  };
  const Case cases[] = {
      {"budgets: [{ name: b }]\n", "p.yaml:3:11: budget `b` has no limit\n"},
      {"budgets: [{ name: b, usd: 1 }, { name: b, usd: 2 }]\n", "p.yaml:3:40: two budgets are named `b`\n"},
      {"budgets: [{ name: \"b c\", usd: 1 }]\n", "p.yaml:3:19: `b c` is no name for a budget\n"},
      {"budgets: [{ name: b.usd, usd: 1 }]\n", "p.yaml:3:19: `b.usd` is no name for a budget\n"},
      {"budgets: [{ name: b, per: [agnet], usd: 1 }]\n", "unknown dimension `agnet`\n"},
      {"budgets: [{ name: b, per: [run, run], usd: 1 }]\n", "p.yaml:3:33: dimension `run` is given twice\n"},
      {"budgets: [{ name: b, usd: 1, window: 1mo rolling }]\n", "p.yaml:3:38: a month cannot roll"},
      {"budgets: [{ name: b, usd: 1, window: 4000000000w }]\n", "p.yaml:3:38: the window is longer than ten years\n"},
      {"budgets: [{ name: b, usd: 1, window: 7h }]\n",
       "p.yaml:3:38: a calendar window shorter than a day must divide the day evenly"},
      {"budgets: [{ name: b, usd: 1, window: 36h }]\n",
       "p.yaml:3:38: a calendar window longer than a day counts whole days"},
      {"budgets: [{ name: b, usd: 1, window: 5w rolling }]\n", "p.yaml:3:38: a rolling window is at most 31 days long"},
      {"budgets: [{ name: b, usd: 1, window: 1d, tz: ../etc/passwd }]\n",
       "p.yaml:3:46: unknown time zone `../etc/passwd`\n"},
      {"budgets: [{ name: b, usd: 1, window: 1d rolling, tz: UTC }]\n", "p.yaml:3:54: `tz` needs a calendar window\n"},
      {"budgets: [{ name: b, usd: 1, soft: 100% }]\n", "p.yaml:3:36: `soft` must be more than 0% and less than 100%\n"},
      {"budgets: [{ name: b, usd: 1, on_breach: pace }]\n", "p.yaml:3:41: `on_breach: pace` needs a window\n"},
      {"budgets: [{ name: b, usd: 1, hold: 1m }]\n", "p.yaml:3:36: `hold` needs `on_breach: hold`"},
      {"budgets: [{ name: b, usd: 1, on_breach: hold, hold: 2h }]\n", "p.yaml:3:53: `hold` must be from 1ms to 1h\n"},
      {"budgets: [{ name: b, usd: 1, only: {} }]\n", "p.yaml:3:36: `only` is empty\n"},
      {"rules: [{ name: r }]\n", "p.yaml:3:9: the rule says neither deny, allow nor approve\n"},
      {"rules: [{ deny: { model: a }, allow: { model: b } }]\n",
       "p.yaml:3:9: the rule says more than one of deny, allow and approve\n"},
      {"rules: [{ deny: {} }]\n", "p.yaml:3:17: `deny` is empty\n"},
      {"rules: [{ deny: { model: a, unless: {} } }]\n", "p.yaml:3:37: `unless` is empty\n"},
      {"rules: [{ deny: { kind: [llm, mpc] } }]\n", "p.yaml:3:25: unknown kind `mpc`\n"},
      {"rules: [{ deny: { model: a }, hold: 1m }]\n", "p.yaml:3:37: `hold` needs `approve`\n"},
      {"rules: [{ name: x, deny: { model: a } }, { name: x, deny: { model: b } }]\n",
       "p.yaml:3:50: two rules are named `x`\n"},
      {"loops: { same_call: 1 in 60s }\n", "p.yaml:3:21: `same_call` must be 2 or more\n"},
      {"loops: { on_breach: hold }\n", "p.yaml:3:8: `loops` has no limit\n"},
      {"delegation: {}\n", "p.yaml:3:13: `delegation` is empty\n"},
      {"deadline: 0s\n", "p.yaml:3:11: `deadline` must be from 1ms to 1h\n"},
      {"unpriced: token_cap\nbudgets: [{ name: b, usd: 1 }]\n",
       "p.yaml:3:11: `unpriced: token_cap` needs a budget in tokens\n"},
      {"match: { service_account: x }\n", "p.yaml:3:27: `service_account` is not supported in this build\n"},
      {"mode: observe\nopaque: deny\n", "p.yaml:4:9: warning: `opaque: deny` does nothing in observe mode\n"},
      {"mode: enforce\n", "p.yaml:2:7: warning: the policy has no budget and no rule\n"},
  };
  for (const Case& c : cases) EXPECT_THAT(said(c.body), HasSubstr(c.complaint)) << c.body;
}

TEST(Check, AsksWhetherATimeZoneIsKnown) {
  Support support = full_support();
  support.timezone_known = [](std::string_view name) { return name == "Europe/Berlin"; };
  EXPECT_EQ(said("budgets: [{ name: b, usd: 1, window: 1d, tz: Europe/Berlin }]\n", support), "");
  EXPECT_EQ(said("budgets: [{ name: b, usd: 1, window: 1d, tz: Europe/Berln }]\n", support),
            "p.yaml:3:46: unknown time zone `Europe/Berln`\n");
}

// What the daemon does not do is refused, not ignored.
TEST(Check, RefusesWhatTheBuildDoesNotEnforce) {
  struct Case {
    const char* body;
    const char* what;
    bool Support::*feature;
  };
  const Case cases[] = {
      {"budgets: [{ name: b, usd: 1, shared: cluster }]\n", "`shared: cluster`", &Support::cluster},
      {"rules: [{ approve: { model: a } }]\n", "`approve`", &Support::approvals},
      {"loops: { cycle: 4 }\n", "`loops`", &Support::loops},
      {"delegation: { max_depth: 3 }\n", "`delegation`", &Support::delegation},
      {"rules: [{ deny: { tool: x } }]\n", "`tool`", &Support::tools},
      {"rules: [{ deny: { model: m, unless: { tool: x } } }]\n", "`tool`", &Support::tools},
      {"rules: [{ deny: { kind: mcp } }]\n", "kind `mcp`", &Support::tools},
      {"budgets: [{ name: b, per: [tool], usd: 1 }]\n", "`per: tool`", &Support::tools},
      {"hold_h2: stall\n", "`hold_h2`", &Support::http2_holds},
      {"match: { namespace: n }\n", "`namespace`", &Support::kubernetes},
      {"match: { label.team: n }\n", "`label.team`", &Support::kubernetes},
      {"rules: [{ deny: { model: a, pod: x } }]\n", "`pod`", &Support::kubernetes},
      {"budgets: [{ name: b, per: [label.team], usd: 1 }]\n", "`per: label.team`", &Support::kubernetes},
  };
  for (const Case& c : cases) {
    Support without = full_support();
    without.*c.feature = false;
    EXPECT_THAT(said(c.body, without), HasSubstr(std::string(c.what) + " is not supported in this build\n")) << c.body;
    EXPECT_THAT(said(c.body), ::testing::Not(HasSubstr("not supported"))) << c.body;
    // Policies that do not come from a file are refused likewise.
    api::PolicySet set = parse("name: p\n" + std::string(c.body));
    EXPECT_FALSE(compile(set, {}, without)) << c.body;
  }
}

TEST(Check, WhatTheFileSaysIsShownInPart) {
  const std::string said =
      complaints(read_policies("kind: Policy\nname: " + std::string(100'000, 'x') + "\n", "p.yaml").diagnostics);
  EXPECT_THAT(said, HasSubstr("p.yaml:2:7: `" + std::string(40, 'x') + "…` is no name for a policy\n"));
  EXPECT_LT(said.size(), 500u);
}

TEST(Check, NamesAreUniqueAmongFiles) {
  const std::string two =
      "kind: Policy\nname: a\nbudgets: [{ name: b, usd: 1 }]\n---\nkind: Policy\nname: a\nbudgets: [{ name: b, usd: 1 "
      "}]\n";
  EXPECT_EQ(complaints(read_policies(two, "p.yaml").diagnostics), "p.yaml:6:7: two policies are named `a`\n");
}

TEST(Check, KindIsRequired) {
  EXPECT_EQ(complaints(read_policies("name: a\n", "p.yaml").diagnostics), "p.yaml:1:1: key `kind` is missing\n");
}

TEST(Check, APolicyMadeInCodeNamesThePath) {
  api::PolicySet set;
  set.add_policies()->set_name("Bad Name");
  set.add_policies()->set_name("ok");
  set.mutable_policies(1)->add_budgets()->set_name("b");
  EXPECT_THAT(complaints(check(set)), HasSubstr("policy `Bad Name`: name: `Bad Name` is no name for a policy\n"));
  EXPECT_THAT(complaints(check(set)), HasSubstr("policy `ok`: budgets[0]: budget `b` has no limit\n"));
}

class Folder : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "penstock-policies-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(path_); }
  void write(const std::string& name, const std::string& text) { std::ofstream(path_ + "/" + name) << text; }
  std::string path_;
};

TEST_F(Folder, LoadsEveryYamlFileInOrder) {
  write("20.yml", "kind: Policy\nname: b\nrules: [{ deny: { model: x } }]\n");
  write("10.yaml", "kind: Policy\nname: a\nrules: [{ deny: { model: x } }]\n");
  write("notes.txt", "not a policy");
  write(".hidden.yaml", "not a policy");
  const LoadedPolicies loaded = load_policies(path_);
  EXPECT_EQ(complaints(loaded.diagnostics), "");
  ASSERT_EQ(loaded.set.policies_size(), 2);
  EXPECT_EQ(loaded.set.policies(0).name(), "a");
  EXPECT_EQ(load_policies(path_ + "/20.yml").set.policies_size(), 1);
}

TEST_F(Folder, NamesTheFileOfAProblem) {
  write("1.yaml", "kind: Policy\nname: a\nrules: [{ deny: { model: x } }]\n");
  write("2.yaml", "kind: Policy\nname: a\nrules: [{ deny: { model: x } }]\n");
  EXPECT_EQ(complaints(load_policies(path_).diagnostics), path_ + "/2.yaml:2:7: two policies are named `a`\n");
  std::filesystem::create_directory(path_ + "/3.yaml");
  EXPECT_THAT(complaints(load_policies(path_).diagnostics),
              HasSubstr(path_ + "/3.yaml: cannot be read (Is a directory)\n"));
  EXPECT_THAT(complaints(load_policies(path_ + "/none").diagnostics), HasSubstr("/none: cannot be read"));
}

TEST(Diff, OneLineForEachChange) {
  const auto before = parse(
      "name: a\nmode: observe\nbudgets: [{ name: day, usd: 25, window: 1d }, { name: old, usd: 1 }]\n---\nname: "
      "gone\nrules: [{ deny: { model: x } }]\n");
  const auto after = parse(
      "name: a\nmode: enforce\nrules: [{ deny: { model: x } }]\nbudgets: [{ name: day, usd: 50, window: 1d }, { name: "
      "new, usd: 1 }]\n---\nname: fresh\nrules: [{ deny: { model: x } }]\n");
  EXPECT_THAT(
      diff(before, after),
      ElementsAre("- policy gone", "~ policy a: mode observe -> enforce", "~ policy a: rules changed", "- budget a/old",
                  "~ budget a/day: usd 25.00 -> 50.00", "+ budget a/new", "+ policy fresh (budgets: 0, rules: 1)"));
  EXPECT_TRUE(diff(after, after).empty());
}

TEST(Explain, SaysWhatApplies) {
  const auto policies = testing::compiled(
      "name: team\nmatch: { agent: \"night*\" }\nmode: enforce\nbudgets: [{ name: daily, per: [agent], usd: 25, "
      "tokens: 2M, window: 1d }]\n"
      "rules: [{ allow: { provider: openai } }]\n---\nname: other\nmatch: { user: root }\nbudgets: [{ name: b, usd: 1 "
      "}]\n");
  EXPECT_EQ(explain(effective(policies, testing::subject("nightly"))),
            "mode: enforce\n"
            "requests wait for a verdict: yes\n"
            "without a verdict for 5s: hold-last\n"
            "policy team (enforce)\n"
            "  rule allow-1\n"
            "  what no allow matches is denied\n"
            "budget team/daily.usd: $25.00 per agent, window 1d\n"
            "budget team/daily.tokens: 2M tokens per agent, window 1d\n");
  EXPECT_EQ(explain(effective(policies, testing::subject("web"))),
            "mode: observe\nrequests wait for a verdict: no\nno policy applies\n");
}

}  // namespace
}  // namespace penstock::policy
