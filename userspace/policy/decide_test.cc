// Verdicts: a table for rules, one test for each other source of a verdict, and properties over random policies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "userspace/model/names.h"
#include "userspace/policy/testing.h"

namespace penstock::policy {
namespace {

using model::Action;
using model::Mode;
using testing::compiled;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::model_call;
using testing::subject;
using testing::tool_call;

// "allow", "deny p/deny-1 rule", and with observed policies " would deny q/deny-1 rule".
std::string told(const Decision& d) {
  std::string text{model::name(d.verdict.action)};
  if (d.finding) text += " " + d.verdict.policy + "/" + d.verdict.rule + " " + d.verdict.reason;
  if (d.would)
    text += " would " + std::string(model::name(d.would->action)) + " " + d.would->policy + "/" + d.would->rule + " " +
            d.would->reason;
  return text;
}

std::string judged(std::string_view text, const model::Exchange& e, const LedgerOutcome& ledger = {},
                   const Context& context = {}, const model::Subject& who = subject("a")) {
  return told(decide(e, effective(compiled(text), who), ledger, context));
}

TEST(Rules, Table) {
  struct Case {
    const char* rules;
    model::Exchange exchange;
    const char* verdict;
  };
  const model::Exchange gpt5 = model_call("openai", "gpt-5-mini");
  const model::Exchange o3 = model_call("openai", "o3");
  const model::Exchange claude = model_call("anthropic", "claude-4");
  const model::Exchange search = tool_call("search.web");
  const model::Exchange pay = tool_call("payments.send");
  model::Exchange both = search;
  both.tool_calls.push_back({std::string("2"), "payments.send"});
  model::Exchange upkeep = tool_call("x");
  upkeep.operation = "initialize";
  upkeep.tool_calls.clear();
  model::Exchange reading = upkeep;
  reading.operation = "resources/read";
  model::Exchange agent;
  agent.kind = model::Kind::kA2a;
  agent.operation = "message/send";
  const model::Exchange plain;

  const Case cases[] = {
      // deny
      {"{ deny: { model: gpt-5* } }", gpt5, "deny p/deny-1 rule"},
      {"{ deny: { model: GPT-5* } }", gpt5, "deny p/deny-1 rule"},
      {"{ deny: { model: gpt-5* } }", o3, "allow"},
      {"{ deny: { model: gpt-5*, provider: azure* } }", gpt5, "allow"},
      {"{ deny: { host: api.EXAMPLE.com } }", o3, "deny p/deny-1 rule"},
      {"{ name: no-openai, deny: { provider: openai } }", o3, "deny p/no-openai rule"},
      {"{ deny: { model: gpt-5*, unless: { user: dev } } }", gpt5, "allow"},
      {"{ deny: { model: gpt-5*, unless: { user: root } } }", gpt5, "deny p/deny-1 rule"},
      {"{ deny: { model: gpt-5*, unless: { model: \"*-mini\" } } }", gpt5, "allow"},
      {"{ deny: { model: \"*\", user: dev } }", o3, "deny p/deny-1 rule"},
      {"{ deny: { model: \"*\" } }", plain, "allow"},  // plain HTTP is none of ours
      // keys of one kind do not speak of another
      {"{ deny: { tool: \"*\" } }", o3, "allow"},
      {"{ deny: { model: \"*\" } }", search, "allow"},
      {"{ deny: { tool: payments.*, model: o3 } }", o3, "deny p/deny-1 rule"},
      {"{ deny: { tool: payments.*, model: o3 } }", pay, "deny p/deny-1 rule"},
      {"{ deny: { kind: [mcp, a2a] } }", agent, "deny p/deny-1 rule"},
      {"{ deny: { kind: [mcp, a2a] } }", o3, "allow"},
      // one denied call of several is enough
      {"{ deny: { tool: payments.* } }", both, "deny p/deny-1 rule"},
      // allow lists
      {"{ allow: { provider: [anthropic, openai] } }", claude, "allow"},
      {"{ allow: { provider: anthropic } }", o3, "deny p/allow rule"},
      {"{ allow: { provider: anthropic } }, { allow: { model: o3 } }", o3, "allow"},
      {"{ allow: { provider: anthropic } }", search, "deny p/allow rule"},
      {"{ allow: { provider: anthropic } }", plain, "allow"},
      {"{ allow: { provider: openai, tool: search.* } }", search, "allow"},
      {"{ allow: { provider: openai, tool: search.* } }", o3, "allow"},
      {"{ allow: { tool: search.* } }", both, "deny p/allow rule"},
      {"{ allow: { tool: search.* } }", upkeep, "allow"},
      {"{ allow: { tool: search.* } }", reading, "deny p/allow rule"},
      {"{ allow: { tool: search.* } }", agent, "deny p/allow rule"},
      // deny wins, wherever it stands
      {"{ allow: { provider: openai } }, { deny: { model: o3 } }", o3, "deny p/deny-2 rule"},
      // approvals
      {"{ approve: { tool: payments.* } }", pay, "hold p/approve-1 approval"},
      {"{ approve: { tool: payments.* } }", search, "allow"},
      {"{ approve: { tool: payments.* } }, { deny: { tool: \"*.send\" } }", pay, "deny p/deny-2 rule"},
      {"{ allow: { tool: search.* } }, { approve: { tool: payments.* } }", pay, "hold p/approve-2 approval"},
  };
  for (const Case& c : cases)
    EXPECT_EQ(judged("name: p\nmode: enforce\nrules: [ " + std::string(c.rules) + " ]\n", c.exchange), c.verdict)
        << c.rules;
}

TEST(Rules, AnUnreadableModelIsNoWayAroundADenyInStrict) {
  model::Exchange e = model_call("openai", "");
  const std::string rules = "rules: [{ deny: { model: gpt-5*, unless: { model: gpt-5-nano } } }]\n";
  EXPECT_EQ(judged("name: p\nmode: strict\n" + rules, e), "deny p/deny-1 rule");
  EXPECT_EQ(judged("name: p\nmode: enforce\n" + rules, e), "allow");
  e.request.body_bytes = 0;  // a listing names no model
  EXPECT_EQ(judged("name: p\nmode: strict\n" + rules, e), "allow");
}

TEST(Rules, UnrecognisedHttpToAProviderIsAModelCall) {
  model::Exchange e;
  e.provider = "openai";
  EXPECT_EQ(judged("name: p\nmode: enforce\nrules: [{ deny: { provider: openai } }]\n", e), "deny p/deny-1 rule");
}

TEST(Rules, EachPolicyIsJudgedByItself) {
  const std::string two =
      "name: a\nmode: enforce\nrules: [{ allow: { provider: openai } }]\n---\nname: b\nmode: enforce\nrules: [{ allow: "
      "{ model: o3 } }]\n";
  EXPECT_EQ(judged(two, model_call("openai", "o3")), "allow");
  EXPECT_EQ(judged(two, model_call("openai", "o1")), "deny b/allow rule");
  EXPECT_EQ(judged(two, model_call("azure", "o3")), "deny a/allow rule");
}

TEST(Observe, NeverActsAndSaysWhatItWouldDo) {
  const std::string text =
      "name: watch\nmode: observe\nrules: [{ deny: { model: o3 } }]\n---\nname: act\nmode: enforce\nrules: [{ deny: { "
      "model: gpt-5 } }]\n";
  EXPECT_EQ(judged(text, model_call("openai", "o3")), "allow would deny watch/deny-1 rule");
  EXPECT_EQ(judged(text, model_call("openai", "gpt-5")), "deny act/deny-1 rule");
  const Decision d =
      decide(model_call("openai", "o3"),
             effective(compiled("name: watch\nmode: observe\nrules: [{ deny: { model: o3 } }]\n"), subject("a")), {});
  EXPECT_EQ(d.verdict.action, Action::kAllow);
  EXPECT_EQ(d.verdict.mode, Mode::kObserve);
  EXPECT_EQ(d.verdict.reason, "none");
  EXPECT_EQ(d.verdict.policy, "watch");
}

constexpr std::string_view kBudgets =
    "name: p\nmode: enforce\nbudgets:\n"
    "  - { name: hard, usd: 1, window: 1d, on_breach: deny }\n"
    "  - { name: soft, usd: 1, window: 1d, on_breach: hold, hold: 5m }\n"
    "  - { name: slow, tokens: 1k, window: 60s rolling, on_breach: pace, hold: 1m }\n";

LedgerOutcome breach(std::uint32_t budget, std::optional<std::uint64_t> retry_after_ns = std::nullopt) {
  BudgetBreach b;
  b.budget = budget;
  b.limit = 1'000'000'000;
  b.remaining = 250'000'000;
  b.needed = 300'000'000;
  b.retry_after_ns = retry_after_ns;
  LedgerOutcome out;
  out.breaches.push_back(b);
  return out;
}

TEST(Budgets, ABreachDoesWhatItsBudgetSays) {
  const model::Exchange e = model_call("openai", "o3");
  const Effective who = effective(compiled(kBudgets), subject("a"));
  EXPECT_EQ(told(decide(e, who, breach(0))), "deny p/hard budget");
  EXPECT_EQ(decide(e, who, breach(0)).finding->text,
            "budget hard has $0.25 left of $1.00; this call may need $0.30 (window 1d)");

  const Decision held = decide(e, who, breach(1));
  EXPECT_EQ(told(held), "hold p/soft budget");
  EXPECT_EQ(held.finding->wait_ns, 300'000'000'000u);
  EXPECT_EQ(held.finding->then, Action::kDeny);

  const Decision paced = decide(e, who, breach(2, 3'000'000'000));
  EXPECT_EQ(told(paced), "pace p/slow budget");
  EXPECT_EQ(paced.finding->wait_ns, 3'000'000'000u);
  // Waiting alone does not help, or not in time: held for somebody to raise the limit.
  EXPECT_EQ(told(decide(e, who, breach(2))), "hold p/slow budget");
  EXPECT_EQ(told(decide(e, who, breach(2, 61'000'000'000))), "hold p/slow budget");
}

TEST(Budgets, TheStrictestBreachWins) {
  LedgerOutcome all = breach(2, 1);
  all.breaches.push_back(breach(1).breaches[0]);
  EXPECT_EQ(judged(kBudgets, model_call("openai", "o3"), all), "hold p/soft budget");
  all.breaches.push_back(breach(0).breaches[0]);
  EXPECT_EQ(judged(kBudgets, model_call("openai", "o3"), all), "deny p/hard budget");
}

TEST(Budgets, ABreachOfReplacedDefinitionsSaysNothing) {
  EXPECT_EQ(judged(kBudgets, model_call("openai", "o3"), breach(99)), "allow");
}

TEST(Budgets, AnUnkeepableAccountRefuses) {
  LedgerOutcome out = breach(1);
  out.breaches[0].cause = BudgetBreach::Cause::kUnavailable;
  EXPECT_EQ(judged(kBudgets, model_call("openai", "o3"), out), "deny p/soft budget");
}

TEST(Unpriced, RefusedAllowedOrCapped) {
  const model::Exchange e = model_call("openai", "brand-new");
  LedgerOutcome refused = breach(0);
  refused.breaches[0].cause = BudgetBreach::Cause::kUnpriced;
  refused.priced = false;
  const std::string money = "name: p\nmode: enforce\nbudgets: [{ name: m, usd: 1 }]\n";
  EXPECT_EQ(judged(money, e, refused), "deny p/m unpriced");
  // With allow and token_cap the ledger does not object, since it was told so.
  LedgerOutcome passed;
  passed.priced = false;
  EXPECT_EQ(judged(money + "unpriced: allow\n", e, passed), "allow");
  const std::string capped =
      "name: p\nmode: enforce\nunpriced: token_cap\nbudgets: [{ name: m, usd: 1 }, { name: t, tokens: 1k, only: { "
      "model: ";
  EXPECT_EQ(judged(capped + "brand-* } }]\n", e, passed), "allow");
  EXPECT_EQ(judged(capped + "other } }]\n", e, passed), "deny p/m unpriced");
}

TEST(Kill, WinsOverEverythingInEveryMode) {
  KillSwitch order;
  order.selector.set_agent("a");
  order.reason = "runaway";
  Context context;
  context.kills = {&order, 1};
  const Decision d = decide(
      model_call("openai", "o3"),
      effective(compiled("name: p\nmode: observe\nrules: [{ deny: { model: o3 } }]\n"), subject("a")), {}, context);
  model::Exchange e = model_call("openai", "o3");
  e.subject = subject("a");
  const Decision killed = decide(
      e, effective(compiled("name: p\nmode: observe\nrules: [{ deny: { model: o3 } }]\n"), subject("a")), {}, context);
  EXPECT_EQ(d.verdict.action, Action::kAllow);  // the exchange is of another agent
  EXPECT_EQ(killed.verdict.action, Action::kKill);
  EXPECT_EQ(killed.verdict.reason, "killed");
  EXPECT_EQ(killed.verdict.rule, "agent=a");
  EXPECT_EQ(killed.finding->text, "killed: agent=a (runaway)");
  EXPECT_EQ(decide_stream(e, effective(compiled("name: p\n"), subject("a")), {}, context).verdict.action,
            Action::kKill);
  model::Exchange plain;  // its other traffic goes on
  plain.subject = subject("a");
  EXPECT_EQ(decide(plain, effective(compiled("name: p\n"), subject("a")), {}, context).verdict.action, Action::kAllow);
}

TEST(Opaque, DeniedInStrictAndWhereItIsSaid) {
  Context context;
  context.opaque = true;
  EXPECT_EQ(judged("name: p\nmode: strict\n", {}, {}, context), "deny p/opaque opaque");
  EXPECT_EQ(judged("name: p\nmode: strict\nopaque: allow\n", {}, {}, context), "allow");
  EXPECT_EQ(judged("name: p\nmode: enforce\n", {}, {}, context), "allow");
  EXPECT_EQ(judged("name: p\nmode: enforce\nopaque: deny\n", {}, {}, context), "deny p/opaque opaque");
  EXPECT_EQ(judged("name: p\nmode: observe\nopaque: deny\n", {}, {}, context), "allow would deny p/opaque opaque");
}

TEST(Approvals, WaitForEachAnswer) {
  const std::string text =
      "name: p\nmode: enforce\nrules: [{ approve: { tool: payments.* }, hold: 10m }, { name: big, approve: { tool: "
      "\"*.send\" }, otherwise: allow }]\n";
  const model::Exchange pay = tool_call("payments.send");
  const Effective who = effective(compiled(text), subject("a"));
  const Decision asked = decide(pay, who, {});
  EXPECT_THAT(asked.approvals, ElementsAre("p/approve-1", "p/big"));
  EXPECT_EQ(asked.finding->wait_ns, 600'000'000'000u);
  EXPECT_EQ(asked.finding->then, Action::kDeny);

  std::vector<Approval> answers{{"p/approve-1", true}};
  Context context;
  context.approvals = answers;
  const Decision half = decide(pay, who, {}, context);
  EXPECT_THAT(half.approvals, ElementsAre("p/big"));
  EXPECT_EQ(half.finding->then, Action::kAllow);
  answers.push_back({"p/big", true});
  context.approvals = answers;
  EXPECT_EQ(told(decide(pay, who, {}, context)), "allow");
  answers[0].approved = false;
  EXPECT_EQ(told(decide(pay, who, {}, context)), "deny p/approve-1 approval");
}

TEST(Course, LoopsAndDepth) {
  const std::string text =
      "name: p\nmode: enforce\nloops: { same_call: 5 in 60s, cycle: 4 }\ndelegation: { max_depth: 3 }\n";
  std::vector<LoopOutcome> loops{{"p", 4, 3}};
  Context context;
  context.loops = loops;
  context.delegation_depth = 3;
  EXPECT_EQ(judged(text, tool_call("x"), {}, context), "allow");
  loops[0].same_calls = 5;
  EXPECT_EQ(judged(text, tool_call("x"), {}, context), "hold p/loops.same_call loop");
  loops[0] = {"p", 0, 4};
  EXPECT_EQ(judged(text, tool_call("x"), {}, context), "hold p/loops.cycle loop");
  loops[0] = {"another", 9, 9};
  EXPECT_EQ(judged(text, tool_call("x"), {}, context), "allow");
  context.delegation_depth = 4;
  EXPECT_EQ(judged(text, tool_call("x"), {}, context), "deny p/delegation.max_depth rule");
}

TEST(Stream, IsCutByAnEnforcedBudget) {
  const model::Exchange e = model_call("openai", "o3");
  const Effective who = effective(compiled(kBudgets), subject("a"));
  EXPECT_EQ(told(decide_stream(e, who, breach(0))), "cut p/hard budget");
  EXPECT_EQ(told(decide_stream(e, who, breach(1))), "cut p/soft budget");
  EXPECT_EQ(told(decide_stream(e, who, breach(2))), "allow");  // paced: finishes
  EXPECT_EQ(told(decide_stream(e, who, {})), "allow");
  const Effective watched =
      effective(compiled("name: p\nmode: observe\nbudgets: [{ name: b, usd: 1 }]\n"), subject("a"));
  EXPECT_EQ(told(decide_stream(e, watched, breach(0))), "allow would cut p/b budget");
}

// Over random policies and requests: the same arguments give the same decision, whatever was decided in between; a
// policy turned from enforce to observe never makes the verdict stricter; adding a policy never makes it laxer.
class RandomPolicies : public ::testing::Test {
 protected:
  template <class List>
  auto pick(const List& list) {
    return list[std::uniform_int_distribution<std::size_t>(0, std::size(list) - 1)(random_)];
  }
  bool chance() { return std::uniform_int_distribution<int>(0, 1)(random_) == 1; }

  api::Policy policy(int number) {
    static const char* const kModels[] = {"*", "gpt-5*", "o?", "claude-*"};
    static const char* const kProviders[] = {"openai", "anthropic", "*"};
    static const char* const kTools[] = {"search.*", "payments.*", "*"};
    static const api::Mode kModes[] = {api::MODE_OBSERVE, api::MODE_ENFORCE, api::MODE_STRICT};
    static const api::OnBreach kBreaches[] = {api::ON_BREACH_HOLD, api::ON_BREACH_DENY};
    api::Policy p;
    p.set_name("p" + std::to_string(number));
    p.set_mode(pick(kModes));
    if (chance()) p.mutable_match()->add_agent(chance() ? "a" : "b*");
    for (int i = 0; i < 3; ++i) {
      api::Policy::Rule* r = p.add_rules();
      api::Target* t = chance() ? r->mutable_deny() : chance() ? r->mutable_allow() : r->mutable_approve();
      api::RequestMatch* m = t->mutable_when()->mutable_request();
      m->add_provider(pick(kProviders));
      if (chance()) m->add_model(pick(kModels));
      if (chance()) m->add_tool(pick(kTools));
      if (chance()) t->mutable_unless()->mutable_request()->add_model(pick(kModels));
    }
    api::Policy::Budget* b = p.add_budgets();
    b->set_name("b");
    b->set_nano_usd(1);
    b->set_on_breach(pick(kBreaches));
    return p;
  }
  model::Exchange exchange() {
    static const char* const kNames[] = {"gpt-5", "o3", "claude-4", ""};
    static const char* const kTools[] = {"search.web", "payments.send"};
    model::Exchange e =
        chance() ? model_call(chance() ? "openai" : "anthropic", pick(kNames)) : tool_call(pick(kTools));
    e.subject = subject(chance() ? "a" : "bob");
    return e;
  }
  static Decision judge(const api::PolicySet& set, const model::Exchange& e, const LedgerOutcome& ledger) {
    auto policies = compile(set, {}, testing::full_support());
    EXPECT_TRUE(policies) << policies.error().what;
    return decide(e, effective(*policies, e.subject), ledger);
  }
  static int strictness(const Decision& d) {
    switch (d.verdict.action) {
      case Action::kAllow:
        return 0;
      case Action::kPace:
        return 1;
      case Action::kHold:
        return 2;
      default:
        return 3;
    }
  }
  std::mt19937 random_{20260101};
};

TEST_F(RandomPolicies, DecisionsAreDeterministicAndMonotonic) {
  for (int round = 0; round < 300; ++round) {
    api::PolicySet set;
    for (int i = 0; i < 3; ++i) *set.add_policies() = policy(i);
    const model::Exchange e = exchange();
    LedgerOutcome ledger;
    if (chance()) ledger = breach(chance() ? 0 : 1);
    const Decision first = judge(set, e, ledger);
    judge(set, exchange(), {});
    const Decision again = judge(set, e, ledger);
    ASSERT_EQ(told(first), told(again));
    ASSERT_EQ(first.approvals, again.approvals);

    api::PolicySet relaxed = set;
    relaxed.mutable_policies(0)->set_mode(api::MODE_OBSERVE);
    ASSERT_LE(strictness(judge(relaxed, e, ledger)), strictness(first));
    api::PolicySet more = set;
    *more.add_policies() = policy(9);
    ASSERT_GE(strictness(judge(more, e, ledger)), strictness(first));
    // What was written and read again decides alike.
    std::string text;
    for (const api::Policy& p : set.policies()) text += "---\n" + api::write_yaml(p, true);
    const LoadedPolicies loaded = read_policies(text, "p.yaml", testing::full_support());
    ASSERT_EQ(testing::complaints(loaded.diagnostics), "");
    ASSERT_EQ(told(judge(loaded.set, e, ledger)), told(first));
  }
}

}  // namespace
}  // namespace penstock::policy
