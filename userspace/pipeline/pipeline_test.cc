// Verdicts over requests: what leaves, what waits, what never leaves; and what it costs.
#include "userspace/pipeline/test_rig.h"

namespace penstock::pipeline {
namespace {

constexpr char kModel[] = "gpt-4o-mini";

std::string requests_budget(int limit, const char* on_breach, const char* more = "") {
  return "kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: n, requests: " + std::to_string(limit) +
         ", on_breach: " + on_breach + more + " }\n";
}

TEST_F(PipelineTest, WithoutPoliciesEverythingIsSeenAndNothingHeld) {
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  EXPECT_EQ(received(c), chat_request(kModel, 10));
  kernel_.answer(c, chat_answer(kModel, 1000, 100));
  ASSERT_EQ(recorder_.exchanges.size(), 1U);
  EXPECT_EQ(last().provider, "openai");
  EXPECT_EQ(last().subject.agent, "agent-7");
  EXPECT_EQ(last().usage.input_tokens, 1000U);
  EXPECT_EQ(last().usage_status, model::UsageStatus::kExact);
  // gpt-4o-mini: 0.15 $ and 0.60 $ per million tokens
  ASSERT_TRUE(last().cost.has_value());
  EXPECT_EQ(last().cost->value, 1000 * 150 + 100 * 600);
  EXPECT_EQ(last().verdict.action, model::Action::kAllow);
  EXPECT_EQ(last().verdict.mode, model::Mode::kObserve);
}

TEST_F(PipelineTest, AnAllowedRequestLeavesWholeAndIsCharged) {
  apply("kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: money, usd: 1 }\n  - { name: n, requests: 10 }\n");
  const auto c = kernel_.connect(7);
  const std::string request = chat_request(kModel, 100);
  kernel_.write(c, request.substr(0, 50));
  EXPECT_EQ(received(c), "") << "not before the verdict on the whole request";
  kernel_.write(c, request.substr(50));
  EXPECT_EQ(received(c), request);
  EXPECT_EQ(conn(c).pushes, 1) << "one verdict for any number of writes";
  EXPECT_GT(reserved("p", "money"), 0);
  EXPECT_EQ(reserved("p", "n"), 1);
  kernel_.answer(c, chat_answer(kModel, 1000, 100));
  EXPECT_EQ(reserved("p", "money"), 0);
  EXPECT_EQ(spent("p", "money"), 1000 * 150 + 100 * 600);
  EXPECT_EQ(spent("p", "n"), 1);
  EXPECT_EQ(last().verdict.action, model::Action::kAllow);
  EXPECT_EQ(last().verdict.policy, "p");

  // Keep-alive: the next request waits for a verdict of its own.
  kernel_.write(c, request);
  EXPECT_EQ(received(c), request + request);
  EXPECT_EQ(conn(c).pushes, 2);
}

TEST_F(PipelineTest, ADeniedRequestNeverLeavesAndCostsNothing) {
  apply(
      "kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: n, requests: 10 }\nrules:\n"
      "  - { deny: { model: \"gpt-4o\" } }\n");
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request("gpt-4o", 10));
  kernel_.pump();
  EXPECT_EQ(received(c), "");
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(reserved("p", "n"), 0);
  EXPECT_EQ(spent("p", "n"), 0);
  ASSERT_EQ(recorder_.exchanges.size(), 1U);
  EXPECT_EQ(last().verdict.action, model::Action::kDeny);
  EXPECT_EQ(last().verdict.reason, "rule");
  EXPECT_FALSE(last().cost.has_value());
}

TEST_F(PipelineTest, RetriesOfARefusedRequestDoNotConsume) {
  apply(requests_budget(1, "deny"));
  const auto first = kernel_.connect(7);
  kernel_.write(first, chat_request(kModel, 10));
  kernel_.answer(first, chat_answer(kModel, 1, 1));
  for (int i = 0; i < 5; ++i) {
    const auto c = kernel_.connect(7);
    kernel_.write(c, chat_request(kModel, 10));
    kernel_.pump();
    EXPECT_TRUE(conn(c).destroyed);
    EXPECT_EQ(received(c), "");
  }
  EXPECT_EQ(spent("p", "n"), 1);
  EXPECT_EQ(reserved("p", "n"), 0);
}

TEST_F(PipelineTest, AHeldRequestGoesWhenItsBudgetIsRaised) {
  apply(requests_budget(1, "hold", ", hold: 10m"));
  const auto a = kernel_.connect(7), b = kernel_.connect(8);
  kernel_.write(a, chat_request(kModel, 10));
  kernel_.write(b, chat_request(kModel, 10));
  EXPECT_EQ(received(b), "");
  EXPECT_EQ(pipeline_->held_count(), 1U);
  advance(30 * kSecond);
  EXPECT_EQ(received(b), "");
  EXPECT_FALSE(conn(b).destroyed);
  ASSERT_TRUE(ledger_->set_limit(*ledger_->find("p", "n"), std::nullopt, 2, ledger_now()).has_value());
  tick();
  EXPECT_EQ(received(b), chat_request(kModel, 10));
  EXPECT_EQ(pipeline_->held_count(), 0U);
  kernel_.answer(b, chat_answer(kModel, 1, 1));
  EXPECT_EQ(last().verdict.action, model::Action::kHold);
  EXPECT_GE(last().verdict.gate_ns, 30 * kSecond);
  EXPECT_EQ(last().status, 200U);
}

TEST_F(PipelineTest, AHeldRequestGoesWhenAnotherReservationSettles) {
  apply("kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: t, tokens: 1000, on_breach: hold, hold: 10m }\n");
  const auto a = kernel_.connect(7), b = kernel_.connect(8);
  kernel_.write(a, chat_request(kModel, 700));
  kernel_.write(b, chat_request(kModel, 700));
  EXPECT_NE(received(a), "");
  EXPECT_EQ(received(b), "") << "the first call's reservation leaves no room";
  kernel_.answer(a, chat_answer(kModel, 10, 10));
  tick();
  EXPECT_NE(received(b), "");
}

TEST_F(PipelineTest, AHoldEndsInARefusalAtItsDeadline) {
  apply(requests_budget(0, "hold", ", hold: 1m"));
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  advance(59 * kSecond);
  EXPECT_FALSE(conn(c).destroyed);
  advance(2 * kSecond);
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(received(c), "");
  EXPECT_EQ(last().verdict.action, model::Action::kDeny);
  EXPECT_EQ(last().verdict.reason, "budget");
}

TEST_F(PipelineTest, APacedRequestGoesWhenTheWindowHasRoom) {
  apply(
      "kind: Policy\nname: p\nmode: enforce\nbudgets:\n"
      "  - { name: n, requests: 1, window: 60s rolling, on_breach: pace, hold: 10m }\n");
  const auto a = kernel_.connect(7), b = kernel_.connect(7);
  kernel_.write(a, chat_request(kModel, 10));
  kernel_.answer(a, chat_answer(kModel, 1, 1));
  kernel_.write(b, chat_request(kModel, 10));
  EXPECT_EQ(received(b), "");
  ASSERT_EQ(pipeline_->held().size(), 1U);
  EXPECT_EQ(pipeline_->held()[0].pending->held_verdict.action, model::Action::kPace);
  for (int second = 0; second < 65 && received(b).empty(); ++second) advance(kSecond);
  EXPECT_NE(received(b), "");
  kernel_.answer(b, chat_answer(kModel, 1, 1));
  EXPECT_EQ(last().verdict.action, model::Action::kPace);
}

TEST_F(PipelineTest, ApprovalsWaitForAPerson) {
  apply("kind: Policy\nname: p\nmode: enforce\nrules:\n  - { approve: { model: \"gpt-4o*\" }, hold: 10m }\n");
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  ASSERT_EQ(pipeline_->held().size(), 1U);
  EXPECT_EQ(pipeline_->held()[0].pending->held_verdict.reason, "approval");
  api::Selector selector;
  selector.set_exchange(pipeline_->held()[0].pending->exchange->id);
  const auto released = pipeline_->release(selector);
  ASSERT_TRUE(released.has_value());
  EXPECT_EQ(released->held_released, 1U);
  EXPECT_EQ(received(c), chat_request(kModel, 10));
  EXPECT_FALSE(pipeline_->release(selector).has_value());
}

TEST_F(PipelineTest, TwoBudgetsAreTakenFromTogetherOrNotAtAll) {
  apply(
      "kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: wide, requests: 100 }\n"
      "  - { name: narrow, per: [agent], requests: 1, on_breach: deny }\n");
  const auto a = kernel_.connect(7), b = kernel_.connect(7), other = kernel_.connect(8);
  kernel_.write(a, chat_request(kModel, 10));
  kernel_.write(b, chat_request(kModel, 10));
  kernel_.write(other, chat_request(kModel, 10));
  kernel_.pump();
  EXPECT_NE(received(a), "");
  EXPECT_TRUE(conn(b).destroyed);
  EXPECT_NE(received(other), "");
  EXPECT_EQ(reserved("p", "wide"), 2) << "the refused call is in neither";
  EXPECT_EQ(reserved("p", "narrow", "agent=agent-7"), 1);
  EXPECT_EQ(reserved("p", "narrow", "agent=agent-8"), 1);
}

TEST_F(PipelineTest, ObserveModeSaysWhatItWouldDo) {
  apply("kind: Policy\nname: p\nmode: observe\nbudgets:\n  - { name: n, requests: 0, on_breach: deny }\n");
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  EXPECT_NE(received(c), "");
  EXPECT_EQ(conn(c).pushes, 0);
  kernel_.answer(c, chat_answer(kModel, 1, 1));
  EXPECT_EQ(last().verdict.action, model::Action::kAllow);
  EXPECT_EQ(pipeline_->stats().would.at("deny"), 1U);
  EXPECT_EQ(spent("p", "n"), 1) << "observed budgets count all the same";
}

TEST_F(PipelineTest, AStreamIsCutWhenItsBudgetIsGone) {
  apply("kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: t, tokens: 500, on_breach: deny }\n");
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 300, true));
  ASSERT_NE(received(c), "");
  EXPECT_NE(conn(c).admit.flags & PN_ADMIT_URGENT, 0U) << "a cut must not wait for a poll";
  kernel_.answer(c, stream_head());
  int sent = 0;
  for (; sent < 100 && conn(c).alive; ++sent) kernel_.answer(c, stream_chunk(kModel, std::string(100, 'x')));
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_GT(sent, 10);
  EXPECT_LT(sent, 40);
  kernel_.pump();
  EXPECT_EQ(last().verdict.action, model::Action::kCut);
  EXPECT_EQ(last().usage_status, model::UsageStatus::kEstimated);
  EXPECT_EQ(last().price_status, model::PriceStatus::kEstimated);
  EXPECT_TRUE(last().cost.has_value());
  EXPECT_EQ(reserved("p", "t"), 0);
  EXPECT_GE(spent("p", "t"), 300) << "the provider may bill the whole answer";
  const auto status = ledger_->status(*ledger_->find("p", "t"), "", ledger_now());
  EXPECT_EQ(status->estimated, status->spent);

  // What is gone is gone for the next request, and for its retries.
  const auto next = kernel_.connect(7);
  kernel_.write(next, chat_request(kModel, 300, true));
  kernel_.pump();
  EXPECT_TRUE(conn(next).destroyed);
  EXPECT_EQ(received(next), "");
}

TEST_F(PipelineTest, AStreamWithoutUsageIsEstimated) {
  apply("kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: t, tokens: 100000 }\n");
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 1000, true));
  kernel_.answer(c, stream_head());
  for (int i = 0; i < 10; ++i) kernel_.answer(c, stream_chunk(kModel, std::string(40, 'x')));
  kernel_.answer(c, stream_end(kModel));
  ASSERT_EQ(recorder_.exchanges.size(), 1U);
  EXPECT_EQ(last().usage_status, model::UsageStatus::kEstimated);
  EXPECT_GT(last().usage.output_tokens.value_or(0), 0U);
  EXPECT_EQ(last().price_status, model::PriceStatus::kEstimated);
  const auto total = static_cast<std::int64_t>(*last().usage.input_tokens + *last().usage.output_tokens);
  EXPECT_EQ(spent("p", "t"), total);
}

TEST_F(PipelineTest, PlainRequestsPassAtOnce) {
  apply(requests_budget(0, "deny"));
  const auto c = kernel_.connect(7);
  kernel_.write(c, "GET /index.html HTTP/1.1\r\nHost: example.org\r\n\r\n");
  EXPECT_NE(received(c), "");
  kernel_.answer(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_EQ(last().kind, model::Kind::kHttp);
  EXPECT_EQ(last().verdict.action, model::Action::kAllow);
}

TEST_F(PipelineTest, WhatIsNotHttpPassesInEnforce) {
  apply(requests_budget(0, "deny"));
  const auto c = kernel_.connect(7);
  kernel_.write(c, std::string("\x00\x00\x00\x2a\x10hello broker", 17));
  EXPECT_NE(received(c), "");
  EXPECT_EQ(conn(c).admit.pos, UINT64_MAX);
}

TEST_F(PipelineTest, StrictRefusesWhatItCannotRead) {
  apply("kind: Policy\nname: p\nmode: strict\nbudgets:\n  - { name: n, requests: 10 }\n");
  const auto c = kernel_.connect(7);
  kernel_.write_opaque(c, "ciphertext");
  kernel_.pump();
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(received(c), "");
  EXPECT_EQ(last().verdict.reason, "opaque");

  apply("kind: Policy\nname: p\nmode: strict\nopaque: allow\nbudgets:\n  - { name: n, requests: 10 }\n");
  const auto d = kernel_.connect(7);
  kernel_.write_opaque(d, "ciphertext");
  EXPECT_EQ(received(d), "ciphertext");
}

TEST_F(PipelineTest, AnIncompleteRequestStaysUntilItTellsWhatItWants) {
  apply("kind: Policy\nname: p\nmode: enforce\nrules:\n  - { deny: { model: \"gpt-4o\" } }\n");
  const auto allowed = kernel_.connect(7), denied = kernel_.connect(7);
  const std::string good = chat_request(kModel, 10), bad = chat_request("gpt-4o", 10);
  kernel_.write(allowed, good.substr(0, good.size() - 5));
  kernel_.write(denied, bad.substr(0, bad.size() - 5));
  advance(10'000'000);
  EXPECT_EQ(conn(allowed).grown, 1) << "the writer may only be blocked";
  advance(10 * kSecond);
  EXPECT_EQ(received(allowed), "");
  kernel_.write(allowed, good.substr(good.size() - 5));
  kernel_.write(denied, bad.substr(bad.size() - 5));
  kernel_.pump();
  EXPECT_EQ(received(allowed), good);
  EXPECT_TRUE(conn(denied).destroyed);
  EXPECT_EQ(received(denied), "");
}

TEST_F(PipelineTest, ARequestThatNeverCompletesIsDecidedOnWhatIsKnown) {
  apply("kind: Policy\nname: p\nmode: enforce\nrules:\n  - { deny: { model: \"gpt-4o\" } }\n");
  const auto c = kernel_.connect(7), plain = kernel_.connect(7), nothing = kernel_.connect(7);
  const std::string bad = chat_request("gpt-4o", 10);
  kernel_.write(c, bad.substr(0, 120));
  kernel_.write(plain, "POST /upload HTTP/1.1\r\nHost: example.org\r\nContent-Length: 100\r\n\r\nhalf");
  kernel_.write(nothing, "POST /upl");
  advance(3 * kSecond);
  EXPECT_NE(received(plain), "");
  EXPECT_EQ(received(nothing), "POST /upl");
  EXPECT_EQ(received(c), "");
  advance(31 * kSecond);
  EXPECT_EQ(received(c), bad.substr(0, 120));
  EXPECT_EQ(pipeline_->stats().judged_early, 1U);
  // The rest tells that it should not have left: the server never gets the whole of it.
  kernel_.write(c, bad.substr(120));
  kernel_.pump();
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(received(c), bad.substr(0, 120));
  EXPECT_EQ(last().verdict.action, model::Action::kCut);
}

TEST_F(PipelineTest, RequestsInOneWriteLeaveOnlyTogether) {
  apply("kind: Policy\nname: p\nmode: enforce\nrules:\n  - { deny: { model: \"gpt-4o\" } }\n");
  const auto c = kernel_.connect(7);
  // A write goes as a whole: a denied request behind an allowed one in it must keep both in.
  kernel_.write(c, chat_request(kModel, 10) + chat_request("gpt-4o", 10));
  kernel_.pump();
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(received(c), "");
}

TEST_F(PipelineTest, ARequestDoesNotWaitForOneBehindItInAnotherWrite) {
  apply("kind: Policy\nname: p\nmode: enforce\nrules:\n  - { approve: { model: \"gpt-4o\" }, hold: 10m }\n");
  const auto c = kernel_.connect(7);
  kernel_.sink = nullptr;  // both are written before the daemon looks
  kernel_.write(c, chat_request(kModel, 10));
  kernel_.write(c, chat_request("gpt-4o", 10));
  kernel_.sink = pipeline_.get();
  kernel_.pump();
  EXPECT_EQ(received(c), chat_request(kModel, 10));
  ASSERT_EQ(pipeline_->held_count(), 1U);
  api::Selector all;
  all.set_all(true);
  ASSERT_TRUE(pipeline_->release(all).has_value());
  EXPECT_EQ(received(c), chat_request(kModel, 10) + chat_request("gpt-4o", 10));
}

TEST_F(PipelineTest, AFailedAdmissionIsTriedAgain) {
  apply(requests_budget(10, "deny"));
  kernel_.fail_admit = true;
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  EXPECT_EQ(received(c), "");
  kernel_.fail_admit = false;
  advance(kSecond);
  EXPECT_NE(received(c), "");
  EXPECT_GE(pipeline_->stats().gate_errors, 1U);
}

TEST_F(PipelineTest, AFailedDestroyIsTriedAgainAndNothingLeaves) {
  apply(requests_budget(0, "deny"));
  kernel_.fail_destroy = true;
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request(kModel, 10));
  EXPECT_FALSE(conn(c).destroyed);
  advance(kSecond);
  EXPECT_EQ(received(c), "");
  kernel_.fail_destroy = false;
  advance(kSecond);
  EXPECT_TRUE(conn(c).destroyed);
}

TEST_F(PipelineTest, ARequestThatWasNotHeldIsCutWhenItIsRefused) {
  apply("kind: Policy\nname: p\nmode: enforce\nrules:\n  - { deny: { model: \"gpt-4o\" } }\n");
  kernel_.scopes[0].mode = PN_MODE_OBSERVE;  // the process was not in its scope yet
  const auto c = kernel_.connect(7);
  kernel_.write(c, chat_request("gpt-4o", 10));
  kernel_.pump();
  EXPECT_NE(received(c), "");
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(last().verdict.action, model::Action::kCut) << "it has left: say so";
}

TEST_F(PipelineTest, AThousandInterleavedConnectionsKeepTheLimit) {
  apply(
      "kind: Policy\nname: p\nmode: strict\nbudgets:\n  - { name: n, requests: 500, on_breach: deny }\n"
      "  - { name: each, per: [agent], requests: 60, on_breach: deny }\n");
  std::vector<std::uint64_t> cookies;
  for (std::uint32_t i = 0; i < 1000; ++i) cookies.push_back(kernel_.connect(100 + i % 10));
  const std::string request = chat_request(kModel, 10);
  for (std::size_t part = 0; part < 4; ++part) {
    for (const std::uint64_t c : cookies) {
      const std::size_t begin = request.size() * part / 4, end = request.size() * (part + 1) / 4;
      kernel_.write(c, request.substr(begin, end - begin));
    }
  }
  kernel_.pump();
  std::size_t served = 0;
  for (const std::uint64_t c : cookies) {
    if (!received(c).empty()) {
      ++served;
      EXPECT_EQ(received(c), request);
    } else {
      EXPECT_TRUE(conn(c).destroyed);
    }
  }
  EXPECT_EQ(served, 500U);
  EXPECT_EQ(reserved("p", "n"), 500);
  for (const std::uint64_t c : cookies) kernel_.answer(c, chat_answer(kModel, 3, 4));
  EXPECT_EQ(spent("p", "n"), 500);
  EXPECT_EQ(reserved("p", "n"), 0);
  EXPECT_EQ(recorder_.exchanges.size(), 1000U);
  for (const std::uint64_t c : cookies) kernel_.close(c);
  EXPECT_EQ(pipeline_->tracker().connections(), 0U);
  EXPECT_EQ(pipeline_->in_flight(), 0U);
}

TEST_F(PipelineTest, CopyingStopsWhereNothingIsOfInterestUntilPoliciesChange) {
  const auto c = kernel_.connect(7);
  for (int i = 0; i < 20; ++i) {
    kernel_.write(c, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n");
    kernel_.answer(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  }
  EXPECT_NE(conn(c).admit.flags & PN_ADMIT_IGNORE, 0U);
  apply(requests_budget(1, "deny"));
  EXPECT_EQ(conn(c).admit.flags & PN_ADMIT_IGNORE, 0U);
}

TEST_F(PipelineTest, CopyingOfCleartextStopsAtOnceWhereNothingIsOfInterest) {
  const auto c = kernel_.connect(7, 80, PN_BIND_CLEAR);
  kernel_.write(c, "GET /large HTTP/1.1\r\nHost: example.org\r\n\r\n");
  kernel_.answer(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
  EXPECT_EQ(conn(c).admit.flags & PN_ADMIT_IGNORE, 0U) << "it may still show that it is an AI call";
  kernel_.answer(c, std::string(70'000, 'x'));
  EXPECT_NE(conn(c).admit.flags & PN_ADMIT_IGNORE, 0U);

  const auto tools = kernel_.connect(7, 80, PN_BIND_CLEAR);
  kernel_.write(tools, "GET /sse HTTP/1.1\r\nHost: example.org\r\nAccept: text/event-stream\r\n\r\n");
  kernel_.answer(tools, stream_head() + http_chunk("event: endpoint\ndata: /message?sessionId=a\n\n"));
  kernel_.answer(tools, http_chunk(std::string(70'000, ':')));
  EXPECT_EQ(conn(tools).admit.flags & PN_ADMIT_IGNORE, 0U);

  const auto model = kernel_.connect(7, 81, PN_BIND_CLEAR);
  kernel_.write(model, chat_request(kModel, 10));
  kernel_.answer(model, chat_answer(kModel, 3, 4));
  kernel_.write(model, "GET /health HTTP/1.1\r\nHost: example.org\r\n\r\n");
  kernel_.answer(model, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(conn(model).admit.flags & PN_ADMIT_IGNORE, 0U);
}

// ---- answers that are looked at again ----------------------------------------------------------------------------

std::string background_request() {
  const std::string body = R"({"model":"gpt-4o-mini","input":"Think.","background":true,"max_output_tokens":100})";
  return "POST /v1/responses HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string response_answer(std::string_view status, std::string_view usage) {
  const std::string body = R"({"id":"resp_1","object":"response","model":"gpt-4o-mini","output":[],"status":")" +
                           std::string(status) + R"(","usage":)" + std::string(usage) + "}";
  return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

constexpr char kPoll[] = "GET /v1/responses/resp_1 HTTP/1.1\r\nHost: api.openai.com\r\n\r\n";
constexpr char kThousand[] = R"({"input_tokens":900,"output_tokens":100,"total_tokens":1000})";

TEST_F(PipelineTest, APolledAnswerIsChargedOnceAndToWhoAskedForIt) {
  apply("kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: t, tokens: 100000 }\n");
  const auto asks = kernel_.connect(7), polls = kernel_.connect(7);
  kernel_.write(asks, background_request());
  kernel_.answer(asks, response_answer("queued", "null"));
  EXPECT_GT(spent("p", "t"), 0) << "the reservation stands while nothing is known";
  EXPECT_EQ(last().usage_status, model::UsageStatus::kUnknown);
  kernel_.write(polls, kPoll);
  kernel_.answer(polls, response_answer("in_progress", "null"));
  EXPECT_FALSE(last().usage.input_tokens.has_value());
  for (int i = 0; i < 3; ++i) {
    kernel_.write(polls, kPoll);
    kernel_.answer(polls, response_answer("completed", kThousand));
    EXPECT_EQ(spent("p", "t"), 1000);
    EXPECT_EQ(last().usage.input_tokens.has_value(), i == 0);
  }
  EXPECT_EQ(reserved("p", "t"), 0);
  EXPECT_EQ(pipeline_->stats().repeats, 2U);
}

TEST_F(PipelineTest, AnAnswerWhoseCallWasNotSeenIsChargedToTheFirstLookAtIt) {
  apply("kind: Policy\nname: p\nmode: enforce\nbudgets:\n  - { name: t, tokens: 100000 }\n");
  const auto c = kernel_.connect(7);
  for (int i = 0; i < 2; ++i) {
    kernel_.write(c, kPoll);
    kernel_.answer(c, response_answer("completed", kThousand));
    EXPECT_EQ(spent("p", "t"), 1000);
  }
}

}  // namespace
}  // namespace penstock::pipeline
