// Orders and accidents: kill and release, reload, restart, loss, scopes and leases.
#include <unistd.h>

#include <fstream>

#include "userspace/api/spelling.h"
#include "userspace/ledger/window.h"
#include "userspace/pipeline/test_rig.h"

namespace penstock::pipeline {
namespace {

constexpr char kModel[] = "gpt-4o-mini";
constexpr char kGating[] = "kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: n, requests: 1000 }\n";
constexpr char kDenyPolicy[] = "kind: Policy\nname: p\nmode: enforce\nrules:\n  - { deny: { model: \"gpt-4o\" } }\n";

class EnforceTest : public PipelineTest {
 protected:
  void TearDown() override {
    if (!kills_path_.empty()) ::unlink(kills_path_.c_str());
  }
  void keep_kills() {
    kills_path_ = testing::TempDir() + "/kills-" + std::to_string(::getpid()) + ".json";
    ::unlink(kills_path_.c_str());
    start();
  }
};

TEST_F(EnforceTest, AKillEndsTheAgentsConnectionsAndNobodyElses) {
  subjects_.living = {7, 8};
  const auto red = kernel_.connect(7), blue = kernel_.connect(8), idle = kernel_.connect(7);
  kernel_.write(red, chat_request(kModel, 10, true));
  kernel_.answer(red, stream_head());
  kernel_.answer(red, stream_chunk(kModel, "half"));
  kernel_.write(blue, chat_request(kModel, 10));
  const auto outcome = kill(agent("agent-7"));
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->connections_destroyed, 1U);
  EXPECT_EQ(outcome->processes, 1U);
  EXPECT_TRUE(conn(red).destroyed);
  EXPECT_FALSE(conn(blue).destroyed);
  EXPECT_FALSE(conn(idle).destroyed) << "it never spoke to a model";
  EXPECT_EQ(last().verdict.action, model::Action::kKill);
  EXPECT_EQ(last().usage_status, model::UsageStatus::kEstimated);

  // New requests of the killed agent are refused, on old connections and new ones; the neighbour goes on.
  kernel_.write(idle, chat_request(kModel, 10));
  kernel_.pump();
  EXPECT_TRUE(conn(idle).destroyed);
  EXPECT_EQ(received(idle), "");
  kernel_.answer(blue, chat_answer(kModel, 1, 1));
  kernel_.write(blue, chat_request(kModel, 10));
  EXPECT_FALSE(conn(blue).destroyed);
  const std::uint32_t scope = kernel_.processes.at(7);
  EXPECT_NE(kernel_.scopes.at(scope).flags & PN_SCOPE_BLOCK_ENDPOINTS, 0U);
  EXPECT_EQ(kernel_.scopes.at(scope).on_failure, PN_FAIL_CLOSED) << "also without a daemon";
  EXPECT_EQ(kernel_.endpoints.size(), 1U);

  ASSERT_TRUE(pipeline_->release(agent("agent-7")).has_value());
  const auto back = kernel_.connect(7);
  kernel_.write(back, chat_request(kModel, 10));
  EXPECT_NE(received(back), "");
  EXPECT_FALSE(kernel_.processes.contains(7));
}

TEST_F(EnforceTest, AKilledAgentsNewProcessWaitsForItsVerdict) {
  subjects_.living = {7};
  ASSERT_TRUE(kill(agent("agent-7")).has_value());
  subjects_.names[99] = "agent-7";  // started since; nobody has placed it yet
  const auto c = kernel_.connect(99);
  kernel_.write(c, chat_request(kModel, 10));
  kernel_.pump();
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(received(c), "");
}

TEST_F(EnforceTest, AKillRefusesWhatIsHeld) {
  apply("kind: Policy\nname: p\nmode: enforce\nrules:\n  - { approve: { model: \"*\" }, hold: 10m }\n");
  subjects_.living = {7};
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  ASSERT_EQ(pipeline_->held_count(), 1U);
  const auto outcome = kill(agent("agent-7"));
  EXPECT_EQ(outcome->held_refused, 1U);
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(received(c), "");
  EXPECT_EQ(pipeline_->held_count(), 0U);
  EXPECT_EQ(last().verdict.reason, "killed");
}

TEST_F(EnforceTest, AKilledModelIsRefusedToEverybody) {
  const auto open = kernel_.connect(7);
  kernel_.write(open, chat_request("gpt-4o", 10, true));
  api::Selector selector;
  selector.set_model("gpt-4o");
  ASSERT_TRUE(kill(selector).has_value());
  EXPECT_TRUE(conn(open).destroyed);
  const auto bad = kernel_.connect(8), good = kernel_.connect(8);
  kernel_.write(bad, chat_request("gpt-4o", 10));
  kernel_.write(good, chat_request(kModel, 10));
  kernel_.pump();
  EXPECT_TRUE(conn(bad).destroyed);
  EXPECT_EQ(received(bad), "");
  EXPECT_NE(received(good), "");
}

TEST_F(EnforceTest, FreezeAndSigkillActOnTheProcesses) {
  subjects_.living = {7, 8};
  api::KillSwitch order;
  *order.mutable_selector() = agent("agent-7");
  order.set_freeze(true);
  ASSERT_TRUE(pipeline_->kill(order, false).has_value());
  EXPECT_EQ(processes_.done, std::vector<std::string>{"freeze agent-7"});
  ASSERT_TRUE(pipeline_->release(agent("agent-7")).has_value());
  EXPECT_EQ(processes_.done.back(), "thaw agent-7");
  ASSERT_TRUE(kill(agent("agent-8"), true).has_value());
  EXPECT_EQ(processes_.done.back(), "kill 8");
}

TEST_F(EnforceTest, AKillOutlivesTheDaemon) {
  keep_kills();
  subjects_.living = {7};
  ASSERT_TRUE(kill(agent("agent-7")).has_value());
  const std::uint32_t scope = kernel_.processes.at(7);
  die();
  EXPECT_NE(kernel_.scopes.at(scope).flags & PN_SCOPE_BLOCK_ENDPOINTS, 0U);
  kernel_.daemon_away = false;
  start(true);
  EXPECT_EQ(kills_->list().kills_size(), 1);
  pipeline_->refresh_scopes();
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  kernel_.pump();
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(received(c), "");
}

TEST_F(EnforceTest, AnUnreadableKillFileStopsTheStart) {
  kills_path_ = testing::TempDir() + "/kills-broken-" + std::to_string(::getpid()) + ".json";
  std::ofstream(kills_path_) << "{ \"kills\": [ {";
  const auto opened = KillSwitches::open(kills_path_);
  ASSERT_FALSE(opened.has_value());
  EXPECT_FALSE(opened.error().hint.empty());
}

TEST_F(EnforceTest, AKillThatCannotBeKeptIsNotAcknowledged) {
  kills_path_ = "/nonexistent/kills.json";
  start();
  subjects_.living = {7};
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  EXPECT_FALSE(kill(agent("agent-7")).has_value());
  EXPECT_FALSE(conn(c).destroyed) << "nothing half done";
  EXPECT_TRUE(kills_->empty());
  kills_path_.clear();
}

TEST_F(EnforceTest, AReloadJudgesHeldRequestsAnew) {
  apply("kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: n, requests: 0, on_breach: hold, hold: 10m }\n");
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  EXPECT_EQ(pipeline_->held_count(), 1U);
  apply("kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: n, requests: 5, on_breach: hold, hold: 10m }\n");
  tick();
  EXPECT_NE(received(c), "");
  apply("kind: Policy\nname: q\nmode: enforce\nrules:\n  - { deny: { model: \"*\" } }\n");
  const auto d = kernel_.connect(7);
  kernel_.write(d, chat_request(kModel, 10));
  kernel_.pump();
  EXPECT_TRUE(conn(d).destroyed);
}

TEST_F(EnforceTest, WhatAPredecessorHeldIsRefusedAndTheRestGoesOn) {
  apply("kind: Policy\nname: p\nmode: enforce\nrules:\n  - { approve: { model: \"gpt-4o\" }, hold: 10m }\n");
  const auto held = kernel_.connect(7), free = kernel_.connect(8);
  kernel_.write(held, chat_request("gpt-4o", 10));
  kernel_.write(free, chat_request(kModel, 10));
  kernel_.answer(free, chat_answer(kModel, 1, 1));
  die();
  // Meanwhile: written, gated, and still in the ring when the next daemon comes.
  kernel_.write(free, chat_request(kModel, 10));
  const auto late = kernel_.connect(9);
  kernel_.write(late, chat_request(kModel, 10));
  EXPECT_EQ(received(late), "");
  kernel_.daemon_away = false;
  start(true);
  pipeline_->resync();
  kernel_.pump();
  EXPECT_EQ(received(late), chat_request(kModel, 10)) << "its plaintext was in the ring";
  EXPECT_EQ(received(free), chat_request(kModel, 10) + chat_request(kModel, 10));
  EXPECT_FALSE(conn(held).destroyed);
  advance(2 * kSecond);
  EXPECT_TRUE(conn(held).destroyed) << "nobody knows any more what it says";
  EXPECT_EQ(received(held), "");
  EXPECT_FALSE(conn(free).destroyed);
  EXPECT_EQ(pipeline_->stats().orphans_refused, 1U);
}

TEST_F(EnforceTest, AHeldWriteWhoseEventsWereLostIsFoundAndRefused) {
  apply(kGating);
  const auto c = kernel_.connect(7);
  kernel_.lose_data = true;
  kernel_.lose_gate = true;
  kernel_.write(c, chat_request(kModel, 10));
  kernel_.lose_data = false;
  kernel_.lose_gate = false;
  EXPECT_EQ(received(c), "");
  advance(kSecond);
  EXPECT_EQ(pipeline_->stats().loss_resyncs, 1U);
  EXPECT_EQ(pipeline_->stats().orphans, 1U);
  advance(3 * kSecond);
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(received(c), "");
}

TEST_F(EnforceTest, LostAnswersMakeAnExchangeIncomplete) {
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  const std::string answer = chat_answer(kModel, 10, 10);
  kernel_.answer(c, answer.substr(0, 100));
  kernel_.lose_data = true;
  kernel_.answer(c, answer.substr(100, 50));
  kernel_.lose_data = false;
  kernel_.answer(c, answer.substr(150));
  kernel_.close(c);
  ASSERT_EQ(recorder_.exchanges.size(), 1U);
  EXPECT_NE(last().usage_status, model::UsageStatus::kExact);
  EXPECT_EQ(pipeline_->tracker().counters().gap_bytes[PN_TO_CLIENT], 50U);
}

TEST_F(EnforceTest, AConnectionWhoseEndWasLostIsEndedAllTheSame) {
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  conn(c).alive = false;  // and its event found no room
  kernel_.counters.loss[PN_EV_conn_close].lost_ring = 1;
  advance(3 * kSecond);
  EXPECT_EQ(pipeline_->tracker().connections(), 0U);
  EXPECT_EQ(recorder_.exchanges.size(), 1U);
}

TEST_F(EnforceTest, ScopesFollowPoliciesAndKeepTheirNumbers) {
  subjects_.living = {7, 8};
  apply(
      "kind: Policy\nname: p\nmatch: { agent: agent-7 }\nmode: enforce\non_failure: closed\nbudgets:\n  - { name: n, "
      "requests: 5 }\n");
  ASSERT_TRUE(kernel_.processes.contains(7));
  EXPECT_FALSE(kernel_.processes.contains(8));
  const std::uint32_t scope = kernel_.processes.at(7);
  EXPECT_EQ(kernel_.scopes.at(scope).mode, PN_MODE_ENFORCE);
  EXPECT_EQ(kernel_.scopes.at(scope).on_failure, PN_FAIL_CLOSED);
  EXPECT_EQ(kernel_.scopes[0].mode, PN_MODE_OBSERVE) << "nobody else waits";
  apply(
      "kind: Policy\nname: p\nmatch: { agent: agent-7 }\nmode: enforce\non_failure: closed\nbudgets:\n  - { name: n, "
      "requests: 9 }\n");
  EXPECT_EQ(kernel_.processes.at(7), scope);
  apply("kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: n, requests: 9 }\n");
  EXPECT_EQ(kernel_.scopes[0].mode, PN_MODE_ENFORCE) << "everybody is meant: also who nobody has looked at";
}

TEST_F(EnforceTest, WhileSomebodyIsKilledTheHostWaitsForVerdictsAndDoesNotDependOnThemUnlessToldSo) {
  subjects_.living = {7, 8};
  const std::string policy = "kind: Policy\nname: p\nmatch: { agent: agent-9 }\nrules:\n  - { deny: { model: x } }\n";
  apply(policy);
  EXPECT_EQ(kernel_.scopes[0].mode, PN_MODE_OBSERVE);
  ASSERT_TRUE(kill(agent("agent-7")).has_value());
  EXPECT_EQ(kernel_.scopes[0].mode, PN_MODE_ENFORCE);
  EXPECT_EQ(kernel_.scopes[0].on_failure, PN_FAIL_OPEN);
  const pn_scope_val& killed = kernel_.scopes.at(kernel_.processes.at(7));
  EXPECT_EQ(killed.on_failure, PN_FAIL_CLOSED);
  EXPECT_NE(killed.flags & PN_SCOPE_BLOCK_ENDPOINTS, 0U);
  policy::Defaults defaults;
  defaults.on_failure = policy::OnFailure::kClosed;
  apply(policy, defaults);
  EXPECT_EQ(kernel_.scopes[0].on_failure, PN_FAIL_CLOSED);
  defaults.on_failure = policy::OnFailure::kHoldLast;
  apply(policy, defaults);
  EXPECT_EQ(kernel_.scopes[0].on_failure, PN_FAIL_OPEN);
}

TEST_F(EnforceTest, EveryWindowThatAPolicyMayNameIsOneTheLedgerKnows) {
  int passed = 0;
  for (const char* unit : {"s", "m", "h", "d", "w", "mo"}) {
    for (const char* kind : {"", " rolling"}) {
      for (const int count :
           {1, 2, 5, 7, 8, 12, 24, 25, 31, 32, 60, 118, 120, 121, 600, 1440, 3600, 3661, 86400, 90000}) {
        const std::string window = std::to_string(count) + unit + kind;
        const std::string yaml = "kind: Policy\nname: p\nbudgets: [{ name: b, usd: 1, window: " + window + " }]\n";
        const policy::LoadedPolicies loaded = policy::read_policies(yaml, "test.yaml", {});
        if (api::has_errors(loaded.diagnostics)) continue;
        ++passed;
        EXPECT_TRUE(ledger::Window::parse(api::format_window(loaded.set.policies(0).budgets(0).window()))) << window;
      }
    }
  }
  EXPECT_GT(passed, 80);
}

TEST_F(EnforceTest, LeasesNeverExceedWhatBudgetsHaveLeft) {
  subjects_.living = {7};
  apply(
      "kind: Policy\nname: p\nmatch: { agent: agent-7 }\nmode: enforce\non_failure: open\nlease: { requests: 100, "
      "bytes: 1MiB }\n"
      "budgets:\n  - { name: n, per: [agent], requests: 3 }\n");
  advance(2 * kSecond);
  const std::uint32_t scope = kernel_.processes.at(7);
  EXPECT_EQ(kernel_.scopes.at(scope).lease_requests, 3);
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  advance(2 * kSecond);
  EXPECT_EQ(kernel_.scopes.at(scope).lease_requests, 2);

  // The daemon is gone: so many requests pass, and the next daemon counts them.
  kernel_.answer(c, chat_answer(kModel, 1, 1));
  die();
  std::vector<std::uint64_t> cookies;
  for (int i = 0; i < 4; ++i) {
    cookies.push_back(kernel_.connect(7));
    kernel_.write(cookies.back(), chat_request(kModel, 10));
  }
  int passed = 0;
  for (const std::uint64_t cookie : cookies) passed += received(cookie).empty() ? 0 : 1;
  EXPECT_EQ(passed, 2);
  kernel_.daemon_away = false;
  start(true);
  kernel_.pump();
  EXPECT_EQ(spent("p", "n", "agent=agent-7") + reserved("p", "n", "agent=agent-7"), 3);
}

TEST_F(EnforceTest, RefusedByTheKernelIsToldAsSuch) {
  subjects_.living = {7};
  apply(
      "kind: Policy\nname: p\nmatch: { agent: agent-7 }\nmode: enforce\non_failure: closed\nbudgets:\n  - { name: n, "
      "requests: 3 }\n");
  die();
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  kernel_.daemon_away = false;
  start(true);
  kernel_.pump();
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(received(c), "");
  ASSERT_FALSE(recorder_.exchanges.empty());
  EXPECT_EQ(last().verdict.reason, "daemon_late");
}

TEST_F(EnforceTest, WhatExpiredWhileTheDaemonWasAwayStaysRefused) {
  subjects_.living = {7};
  apply("kind: Policy\nname: p\nmatch: { agent: agent-7 }\nmode: enforce\nbudgets:\n  - { name: n, requests: 3 }\n");
  die();
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  conn(c).gate.expired = true;
  kernel_.daemon_away = false;
  start(true);
  pipeline_->resync();
  kernel_.pump();
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(received(c), "");
  ASSERT_FALSE(recorder_.exchanges.empty());
  EXPECT_EQ(last().verdict.reason, "daemon_late");
}

// The daemon that died had read the head of a held request; its body comes to the next one, which must not let both go.
TEST_F(EnforceTest, NothingLeavesBehindAWriteThatOnlyAPredecessorRead) {
  subjects_.living = {7};
  apply(kDenyPolicy);
  const auto c = kernel_.connect(7);
  const std::string request = chat_request("gpt-4o", 10);
  const std::size_t head = request.find("\r\n\r\n") + 4;
  kernel_.write(c, request.substr(0, head));
  ASSERT_EQ(received(c), "");
  die();
  kernel_.daemon_away = false;
  start(true);
  kernel_.write(c, request.substr(head));
  advance(60 * kSecond);
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(received(c), "");
}

TEST_F(EnforceTest, AHeldWriteWhosePlaintextWasLostIsRefused) {
  subjects_.living = {7};
  apply(kDenyPolicy);
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  kernel_.answer(c, chat_answer(kModel, 1, 1));
  ASSERT_NE(received(c), "");
  const std::string before = received(c);
  kernel_.lose_data = true;
  kernel_.write(c, chat_request("gpt-4o", 10));
  kernel_.lose_data = false;
  advance(60 * kSecond);
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(received(c), before);
}

TEST_F(EnforceTest, AnAnswerWhoseRequestWasLostIsChargedAndSaysSo) {
  apply("kind: Policy\nname: p\nmode: observe\nbudgets:\n  - { name: n, requests: 10 }\n  - { name: t, tokens: 1M }\n");
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  kernel_.answer(c, chat_answer(kModel, 1, 1));
  kernel_.lose_data = true;
  kernel_.write(c, chat_request(kModel, 10));
  kernel_.lose_data = false;
  kernel_.answer(c, chat_answer(kModel, 20, 7));
  ASSERT_EQ(recorder_.exchanges.size(), 2U);
  EXPECT_EQ(last().usage_status, model::UsageStatus::kIncomplete);
  EXPECT_EQ(last().usage.output_tokens, 7U);
  EXPECT_EQ(spent("p", "n"), 2);
  EXPECT_GE(spent("p", "t"), 2 + 27);
}

// Joined in the middle of a body: that much passes, the connection does not.
TEST_F(EnforceTest, TheRestOfAnUnseenRequestDoesNotOpenTheConnection) {
  subjects_.living = {7};
  const auto c = kernel_.connect(7);
  const std::string request = chat_request(kModel, 10);
  const std::size_t head = request.find("\r\n\r\n") + 4;
  kernel_.write(c, request.substr(0, head));
  die();
  kernel_.daemon_away = false;
  start(true);
  apply(kDenyPolicy);
  kernel_.write(c, request.substr(head));
  advance(60 * kSecond);
  ASSERT_FALSE(conn(c).destroyed);
  const std::string before = received(c);
  kernel_.write(c, chat_request("gpt-4o", 10));
  advance(60 * kSecond);
  EXPECT_EQ(received(c), before);
  EXPECT_TRUE(conn(c).destroyed);
}

TEST(ScopeIds, NumbersSurviveARestartAndAreReusedWhenAllAreTaken) {
  const std::string path = testing::TempDir() + "/scopes-" + std::to_string(::getpid());
  ::unlink(path.c_str());
  {
    auto ids = ScopeIds::open(path);
    ASSERT_TRUE(ids.has_value());
    EXPECT_EQ(ids->id_of("a b", [](std::uint32_t) { return true; }), 1U);
    EXPECT_EQ(ids->id_of("c\nd", [](std::uint32_t) { return true; }), 2U);
  }
  auto ids = ScopeIds::open(path);
  ASSERT_TRUE(ids.has_value());
  EXPECT_EQ(ids->id_of("c\nd", [](std::uint32_t) { return true; }), 2U);
  EXPECT_EQ(ids->id_of("a b", [](std::uint32_t) { return true; }), 1U);
  for (std::uint32_t i = 3; i < PN_MAX_SCOPES; ++i)
    ids->id_of("s" + std::to_string(i), [](std::uint32_t) { return true; });
  EXPECT_EQ(ids->id_of("one too many", [](std::uint32_t) { return true; }), 0U);
  EXPECT_EQ(ids->exhausted(), 1U);
  EXPECT_EQ(ids->id_of("one too many", [](std::uint32_t id) { return id != 5; }), 5U);
  std::ofstream(path) << "garbage";
  auto anew = ScopeIds::open(path);
  ASSERT_TRUE(anew.has_value());
  EXPECT_GE(anew->id_of("x", [](std::uint32_t) { return true; }), static_cast<std::uint32_t>(PN_MAX_SCOPES / 2))
      << "away from what the kernel may still hold";
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace penstock::pipeline
