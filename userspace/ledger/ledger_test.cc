#include "userspace/ledger/ledger.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "userspace/ledger/timezone.h"

namespace penstock::ledger {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

class LedgerTest : public ::testing::Test {
 protected:
  LedgerTest() {
    now.real_ns = days_from_civil(2026, 8, 21) * 86'400 * static_cast<std::int64_t>(kSecond) +
                  43'200 * static_cast<std::int64_t>(kSecond);
  }

  void make(std::vector<BudgetSpec> specs, Ledger::Options options = {}) {
    ledger = std::make_unique<Ledger>(options, nullptr, now);
    auto ok = ledger->configure(std::move(specs), now);
    ASSERT_TRUE(ok.has_value()) << ok.error().message();
  }
  static BudgetSpec spec(std::string name, BudgetUnit unit, std::int64_t limit, std::string_view window = {},
                         std::string_view tz = {}) {
    BudgetSpec s;
    s.policy = "p";
    s.name = std::move(name);
    s.unit = unit;
    s.limit = limit;
    s.window = Window::parse(window, tz).value();
    return s;
  }
  void advance(std::uint64_t ns) {
    now.boot_ns += ns;
    now.real_ns += static_cast<std::int64_t>(ns);
    ledger->tick(now);
  }
  Outcome reserve(std::uint64_t id, std::uint64_t tokens, std::vector<Charge> charges = {{0, ""}}, bool force = false) {
    return ledger->reserve(id, charges, {model::NanoUsd{static_cast<std::int64_t>(tokens)}, tokens, 1}, now, force);
  }
  Outcome settle(std::uint64_t id, std::uint64_t tokens, SettleStatus status = SettleStatus::kExact) {
    return ledger->settle(id, {model::NanoUsd{static_cast<std::int64_t>(tokens)}, tokens, 1}, status, now);
  }
  Outcome progress(std::uint64_t id, std::uint64_t tokens) {
    return ledger->progress(id, {model::NanoUsd{static_cast<std::int64_t>(tokens)}, tokens, 1}, now);
  }
  BudgetStatus status(BudgetId budget = 0, std::string_view key = "") {
    return ledger->status(budget, key, now).value_or(BudgetStatus{});
  }

  Now now{1000 * kSecond, 0};
  std::unique_ptr<Ledger> ledger;
};

TEST_F(LedgerTest, RequestsAdmitExactlyN) {
  make({spec("n", BudgetUnit::kRequests, 10)});
  std::uint64_t admitted = 0;
  for (std::uint64_t i = 1; i <= 64; ++i) admitted += reserve(i, 5).admitted ? 1 : 0;
  EXPECT_EQ(admitted, 10U);
  EXPECT_EQ(status().remaining, 0);
  auto refused = reserve(100, 5);
  ASSERT_EQ(refused.breaches.size(), 1U);
  EXPECT_EQ(refused.breaches[0].reason, BreachReason::kLimit);
  EXPECT_FALSE(refused.breaches[0].retry_after_ns.has_value());
  for (std::uint64_t i = 1; i <= 10; ++i) settle(i, 5);
  EXPECT_FALSE(reserve(101, 5).admitted);
  EXPECT_EQ(status().spent, 10);
}

TEST_F(LedgerTest, CancelGivesBackAndWakes) {
  make({spec("n", BudgetUnit::kRequests, 1)});
  ASSERT_TRUE(reserve(1, 1).admitted);
  ASSERT_FALSE(reserve(2, 1).admitted);
  const auto before = ledger->capacity_epoch();
  ledger->cancel(1, now);
  EXPECT_GT(ledger->capacity_epoch(), before);
  EXPECT_TRUE(reserve(2, 1).admitted);
}

TEST_F(LedgerTest, AllOrNothingOverSeveralBudgets) {
  make({spec("a", BudgetUnit::kTokens, 1000), spec("b", BudgetUnit::kNanoUsd, 100),
        spec("c", BudgetUnit::kRequests, 5)});
  const std::vector<Charge> all = {{0, "k"}, {1, "k"}, {2, "k"}};
  ASSERT_TRUE(reserve(1, 60, all).admitted);
  auto refused = reserve(2, 60, all);
  EXPECT_FALSE(refused.admitted);
  ASSERT_EQ(refused.breaches.size(), 1U);
  EXPECT_EQ(refused.breaches[0].budget, 1U);
  EXPECT_EQ(refused.breaches[0].remaining, 40);
  EXPECT_EQ(refused.breaches[0].needed, 60);
  EXPECT_EQ(status(0, "k").reserved, 60);
  EXPECT_EQ(status(2, "k").reserved, 1);
  EXPECT_TRUE(reserve(3, 60, {{0, "other"}, {1, "other"}, {2, "other"}}).admitted);  // keys are accounts of their own
}

TEST_F(LedgerTest, DuplicateChargesCountOnce) {
  make({spec("a", BudgetUnit::kTokens, 100)});
  ASSERT_TRUE(reserve(1, 80, {{0, "k"}, {0, "k"}, {0, "k"}}).admitted);
  EXPECT_EQ(status(0, "k").reserved, 80);
  settle(1, 50);
  EXPECT_EQ(status(0, "k").spent, 50);
  EXPECT_EQ(status(0, "k").reserved, 0);
}

TEST_F(LedgerTest, ProbeChangesNothing) {
  make({spec("a", BudgetUnit::kTokens, 100)});
  const Charge charge{0, "k"};
  EXPECT_TRUE(ledger->probe(std::span(&charge, 1), {{}, 100, 1}, now).admitted);
  EXPECT_FALSE(ledger->probe(std::span(&charge, 1), {{}, 101, 1}, now).admitted);
  EXPECT_TRUE(ledger->list(now).empty());
}

// 64 calls in flight at once with random estimates and actuals below them: at no moment is the limit passed.
TEST_F(LedgerTest, ConcurrentReservationsNeverPassTheLimit) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 40; ++round) {
    const std::int64_t limit = 1000 + static_cast<std::int64_t>(random() % 5000);
    const char* windows[] = {"", "1h", "60s rolling"};
    make({spec("a", BudgetUnit::kTokens, limit, windows[round % 3]),
          spec("b", BudgetUnit::kNanoUsd, limit * 3 / 4, windows[(round + 1) % 3])});
    std::vector<std::pair<std::uint64_t, std::uint64_t>> in_flight;
    std::uint64_t id = 0;
    std::deque<std::pair<std::uint64_t, std::int64_t>>
        spent;  // boot time of the call, actual: an own account of the truth
    for (int step = 0; step < 3000; ++step) {
      if (in_flight.size() < 64 && random() % 2 == 0) {
        const std::uint64_t upper = random() % 200;
        if (reserve(++id, upper, {{0, "x"}, {1, "x"}}).admitted) in_flight.emplace_back(id, upper);
      } else if (!in_flight.empty()) {
        const std::size_t pick = random() % in_flight.size();
        auto [call, upper] = in_flight[pick];
        in_flight.erase(in_flight.begin() + static_cast<std::ptrdiff_t>(pick));
        const auto kind = random() % 10;
        if (kind == 0)
          ledger->cancel(call, now);
        else if (kind == 1)
          ledger->settle_estimated(call, now);
        else
          settle(call, upper == 0 ? 0 : random() % (upper + 1));
      }
      if (random() % 50 == 0) advance(random() % (20 * kSecond));
      for (BudgetId b : {0U, 1U}) {
        const auto s = status(b, "x");
        ASSERT_LE(s.spent + s.reserved, s.limit);
        ASSERT_GE(s.spent, 0);
        ASSERT_GE(s.reserved, 0);
        ASSERT_LE(s.estimated, s.spent);
      }
    }
    for (auto [call, upper] : in_flight) settle(call, upper);
    EXPECT_EQ(status(0, "x").reserved, 0);
    EXPECT_EQ(status(0, "x").in_flight, 0U);
  }
}

// Whatever the cells do, no stretch of the window's length may hold more than the limit.
TEST_F(LedgerTest, RollingWindowHoldsOverEveryStretch) {
  std::mt19937_64 random(11);
  make({spec("r", BudgetUnit::kTokens, 500, "10s rolling")});
  std::deque<std::pair<std::uint64_t, std::uint64_t>> admitted;  // time, tokens
  std::uint64_t total = 0;
  for (std::uint64_t id = 1; id < 40'000; ++id) {
    advance(random() % (kSecond / 20));
    const std::uint64_t tokens = 1 + random() % 40;
    if (!reserve(id, tokens).admitted) continue;
    settle(id, tokens);
    admitted.emplace_back(now.boot_ns, tokens);
    total += tokens;
    while (!admitted.empty() && admitted.front().first + 10 * kSecond <= now.boot_ns) {
      total -= admitted.front().second;
      admitted.pop_front();
    }
    ASSERT_LE(total, 500U);
  }
}

TEST_F(LedgerTest, RollingWindowSaysWhenItFits) {
  make({spec("r", BudgetUnit::kTokens, 100, "60s rolling")});
  reserve(1, 50);
  settle(1, 50);
  advance(10 * kSecond);
  reserve(2, 50);
  settle(2, 50);
  auto refused = reserve(3, 40);
  ASSERT_FALSE(refused.admitted);
  ASSERT_TRUE(refused.breaches[0].retry_after_ns.has_value());
  const std::uint64_t wait = *refused.breaches[0].retry_after_ns;
  EXPECT_GE(wait, 50 * kSecond);
  EXPECT_LE(wait, 52 * kSecond);
  advance(wait - 1);
  EXPECT_FALSE(reserve(3, 40).admitted);
  advance(1);
  EXPECT_TRUE(reserve(3, 40).admitted);
  EXPECT_FALSE(reserve(4, 101).breaches[0].retry_after_ns.has_value()) << "more than the limit never fits";
}

TEST_F(LedgerTest, RollingWindowIgnoresTheWallClock) {
  make({spec("r", BudgetUnit::kTokens, 100, "60s rolling")});
  reserve(1, 100);
  settle(1, 100);
  now.real_ns += 3600LL * static_cast<std::int64_t>(kSecond);
  EXPECT_FALSE(reserve(2, 1).admitted);
  now.real_ns -= 7200LL * static_cast<std::int64_t>(kSecond);
  EXPECT_FALSE(reserve(2, 1).admitted);
  advance(62 * kSecond);
  EXPECT_TRUE(reserve(2, 1).admitted);
}

TEST_F(LedgerTest, CalendarWindowTurnsAtLocalMidnight) {
  make({spec("d", BudgetUnit::kTokens, 100, "1d", "Europe/Berlin")});
  reserve(1, 100);
  settle(1, 100);
  auto refused = reserve(2, 1);
  ASSERT_TRUE(refused.breaches[0].retry_after_ns.has_value());
  EXPECT_EQ(*refused.breaches[0].retry_after_ns, 10 * 3600 * kSecond);  // 12:00 UTC; midnight in Berlin is 22:00 UTC
  const auto epoch = ledger->capacity_epoch();
  advance(10 * 3600 * kSecond - kSecond);
  EXPECT_FALSE(reserve(2, 1).admitted);
  advance(kSecond);
  EXPECT_GT(ledger->capacity_epoch(), epoch);
  EXPECT_TRUE(reserve(2, 1).admitted);
  EXPECT_EQ(status().spent, 0);
}

TEST_F(LedgerTest, ClockSetBackDoesNotReopenAWindow) {
  make({spec("d", BudgetUnit::kTokens, 100, "1d")});
  advance(13 * 3600 * kSecond);
  reserve(1, 100);
  settle(1, 100);
  now.real_ns -= 3 * 3600LL * static_cast<std::int64_t>(kSecond);  // yesterday, by the wall clock
  EXPECT_FALSE(reserve(2, 1).admitted);
  now.real_ns += 3 * 3600LL * static_cast<std::int64_t>(kSecond);
  EXPECT_FALSE(reserve(2, 1).admitted);
}

TEST_F(LedgerTest, CallThatOutlivesItsWindowIsChargedToIt) {
  make({spec("d", BudgetUnit::kTokens, 100, "1h")});
  reserve(1, 90);
  advance(3600 * kSecond);
  EXPECT_TRUE(reserve(2, 100).admitted) << "a reservation of the last window must not eat the new one";
  settle(1, 80);
  EXPECT_EQ(status().spent, 0);
  EXPECT_EQ(status().reserved, 100);
}

TEST_F(LedgerTest, ResetDoesNotCountOldCallsInNewEpoch) {
  make({spec("d", BudgetUnit::kTokens, 100)});
  reserve(1, 60);
  reserve(2, 40);
  settle(2, 40);
  ASSERT_TRUE(ledger->reset(0, std::nullopt, now).has_value());
  EXPECT_EQ(status().spent, 0);
  EXPECT_EQ(status().reserved, 0);
  ASSERT_TRUE(reserve(3, 100).admitted);
  settle(1, 10);
  EXPECT_EQ(status().spent, 0);
  EXPECT_EQ(status().reserved, 100) << "the old reservation must not be subtracted from the new epoch";
  ledger->settle_estimated(3, now);
  EXPECT_EQ(status().spent, 100);
  EXPECT_EQ(status().estimated, 100);
}

TEST_F(LedgerTest, SetLimitForOneKeyAndForAll) {
  make({spec("d", BudgetUnit::kTokens, 100)});
  reserve(1, 100, {{0, "a"}});
  reserve(2, 100, {{0, "b"}});
  EXPECT_FALSE(reserve(3, 10, {{0, "a"}}).admitted);
  ASSERT_TRUE(ledger->set_limit(0, "a", 150, now).has_value());
  EXPECT_TRUE(reserve(3, 10, {{0, "a"}}).admitted);
  EXPECT_FALSE(reserve(4, 10, {{0, "b"}}).admitted);
  ASSERT_TRUE(ledger->set_limit(0, std::nullopt, 120, now).has_value());
  EXPECT_TRUE(reserve(4, 10, {{0, "b"}}).admitted);
  EXPECT_EQ(status(0, "a").limit, 150);
  ASSERT_TRUE(ledger->set_limit(0, "a", std::nullopt, now).has_value());
  EXPECT_EQ(status(0, "a").limit, 120);
  EXPECT_FALSE(ledger->set_limit(0, std::nullopt, -1, now).has_value());
  EXPECT_FALSE(ledger->set_limit(7, std::nullopt, 1, now).has_value());
}

TEST_F(LedgerTest, StreamIsBreachedOnlyBeyondItsReservation) {
  make({spec("d", BudgetUnit::kTokens, 100)});
  reserve(1, 50);
  reserve(2, 40);
  EXPECT_FALSE(progress(1, 50).breached);
  EXPECT_FALSE(progress(1, 60).breached);  // still under the limit: 60 + 40
  auto over = progress(1, 61);
  EXPECT_TRUE(over.breached);
  ASSERT_EQ(over.breaches.size(), 1U);
  EXPECT_FALSE(progress(2, 40).breached) << "within its own reservation";
  ledger->settle_estimated(1, now);  // the cut
  EXPECT_EQ(status().spent, 61);
  EXPECT_EQ(status().estimated, 61);
  EXPECT_FALSE(reserve(3, 0).admitted);
  EXPECT_FALSE(progress(2, 40).breached);
  EXPECT_TRUE(progress(2, 41).breached);
}

TEST_F(LedgerTest, LoweredLimitBreachesRunningStreams) {
  make({spec("d", BudgetUnit::kTokens, 100)});
  reserve(1, 50);
  EXPECT_FALSE(progress(1, 10).breached);
  ASSERT_TRUE(ledger->set_limit(0, std::nullopt, 20, now).has_value());
  EXPECT_TRUE(progress(1, 11).breached);
}

TEST_F(LedgerTest, ForcedCallsAreChargedAndNeverCut) {
  make({spec("d", BudgetUnit::kTokens, 100)});
  reserve(1, 100);
  auto out = reserve(2, 30, {{0, ""}}, true);
  EXPECT_TRUE(out.admitted);
  ASSERT_EQ(out.breaches.size(), 1U);
  EXPECT_FALSE(progress(2, 500).breached);
  settle(2, 500);
  EXPECT_EQ(status().spent, 500);
}

TEST_F(LedgerTest, EstimateIsCorrectedOnceWithinTheWindow) {
  make({spec("d", BudgetUnit::kTokens, 100)});
  reserve(1, 80);
  ledger->settle_estimated(1, now);
  EXPECT_EQ(status().estimated, 80);
  EXPECT_TRUE(settle(1, 30).known);
  EXPECT_EQ(status().spent, 30);
  EXPECT_EQ(status().estimated, 0);
  EXPECT_FALSE(settle(1, 10).known);

  reserve(2, 50);
  settle(2, 20, SettleStatus::kEstimated);
  advance(61 * kSecond);
  EXPECT_FALSE(settle(2, 5).known) << "too late";
  EXPECT_EQ(status().spent, 50);
  EXPECT_EQ(status().estimated, 20);
}

TEST_F(LedgerTest, UnpricedCalls) {
  auto strict = spec("usd", BudgetUnit::kNanoUsd, 100);
  auto lenient = spec("usd2", BudgetUnit::kNanoUsd, 100);
  lenient.allow_unpriced = true;
  make({strict, lenient});
  const Charge first{0, ""};
  const Charge second{1, ""};
  auto refused = ledger->reserve(1, std::span(&first, 1), {{}, 10, 1}, now);
  ASSERT_FALSE(refused.admitted);
  EXPECT_EQ(refused.breaches[0].reason, BreachReason::kUnpriced);
  EXPECT_TRUE(ledger->reserve(1, std::span(&second, 1), {{}, 10, 1}, now).admitted);
  EXPECT_EQ(ledger->stats().unpriced_admitted, 1U);
}

TEST_F(LedgerTest, SoftThresholdsFireOncePerWindow) {
  auto s = spec("d", BudgetUnit::kTokens, 100, "1h");
  s.soft_permille = {500, 800};
  make({s});
  EXPECT_TRUE(reserve(1, 49).crossings.empty());
  auto out = reserve(2, 1);
  ASSERT_EQ(out.crossings.size(), 1U);
  EXPECT_EQ(out.crossings[0].permille, 500U);
  out = reserve(3, 45);
  ASSERT_EQ(out.crossings.size(), 1U);
  EXPECT_EQ(out.crossings[0].permille, 800U);
  EXPECT_TRUE(settle(3, 45).crossings.empty());
  advance(3600 * kSecond);
  EXPECT_EQ(reserve(4, 90).crossings.size(), 2U);
}

TEST_F(LedgerTest, HostileCountersSaturate) {
  make({spec("t", BudgetUnit::kTokens, INT64_MAX), spec("u", BudgetUnit::kNanoUsd, 1000)});
  const std::vector<Charge> both = {{0, ""}, {1, ""}};
  for (std::uint64_t i = 1; i <= 1000; ++i) {
    ledger->reserve(i, both, {model::NanoUsd{INT64_MAX}, UINT64_MAX, 1}, now, true);
    ledger->progress(i, {model::NanoUsd{INT64_MAX}, UINT64_MAX, UINT64_MAX}, now);
    ledger->settle(i, {model::NanoUsd{i % 2 == 0 ? INT64_MAX : INT64_MIN}, UINT64_MAX, 1}, SettleStatus::kExact, now);
    ASSERT_GE(status(0).spent, 0);
    ASSERT_GE(status(1).spent, 0);
    ASSERT_EQ(status(1).remaining, i == 1 ? 1000 : 0);
  }
  EXPECT_GT(ledger->stats().saturated, 0U);
  EXPECT_FALSE(ledger->reserve(5000, both, {model::NanoUsd{1}, 1, 1}, now).admitted);
}

TEST_F(LedgerTest, ReloadKeepsSpendForTheSameBudget) {
  make({spec("a", BudgetUnit::kTokens, 100), spec("b", BudgetUnit::kTokens, 100, "1h")});
  reserve(1, 60, {{0, "k"}, {1, "k"}});
  settle(1, 60);
  reserve(2, 10, {{0, "k"}, {1, "k"}});
  // Order changed, limit changed, window of b changed, a new one.
  ASSERT_TRUE(ledger
                  ->configure({spec("b", BudgetUnit::kTokens, 100, "1d"), spec("new", BudgetUnit::kTokens, 5),
                               spec("a", BudgetUnit::kTokens, 70)},
                              now)
                  .has_value());
  EXPECT_EQ(status(2, "k").spent, 60);
  EXPECT_EQ(status(2, "k").limit, 70);
  EXPECT_EQ(status(2, "k").reserved, 10);
  EXPECT_EQ(status(0, "k").spent, 0);
  EXPECT_TRUE(settle(2, 10).known);
  EXPECT_EQ(status(2, "k").spent, 70);
  // A budget that comes back while its account is still needed finds it again.
  reserve(3, 0, {{2, "k"}});
  ASSERT_TRUE(ledger->configure({}, now).has_value());
  ASSERT_TRUE(ledger->configure({spec("a", BudgetUnit::kTokens, 100)}, now).has_value());
  EXPECT_TRUE(reserve(4, 30, {{0, "k"}}).admitted);
  EXPECT_FALSE(reserve(5, 1, {{0, "k"}}).admitted);
  settle(3, 0);
}

TEST_F(LedgerTest, ConfigureRefusesWhatIsAmbiguous) {
  make({});
  EXPECT_FALSE(
      ledger->configure({spec("a", BudgetUnit::kTokens, 1), spec("a", BudgetUnit::kRequests, 1)}, now).has_value());
  auto s = spec("a", BudgetUnit::kTokens, 1);
  s.per = {"colour"};
  EXPECT_FALSE(ledger->configure({s}, now).has_value());
  s.per = {"label.team", "run"};
  EXPECT_TRUE(ledger->configure({s}, now).has_value());
}

TEST_F(LedgerTest, NumberOfAccountsIsBounded) {
  Ledger::Options options;
  options.max_instances = 100;
  make({spec("a", BudgetUnit::kTokens, 100, "1h")}, options);
  // Accounts with spend cannot be let go without a store: the table fills, then refuses.
  std::uint64_t admitted = 0;
  std::string key;
  for (std::uint64_t i = 1; i <= 1000; ++i) {
    key = "agent=" + std::to_string(i);
    const Charge charge{0, key};
    const auto out = ledger->reserve(i, std::span(&charge, 1), {{}, 5, 1}, now);
    if (!out.admitted) {
      EXPECT_EQ(out.breaches[0].reason, BreachReason::kCapacity);
      continue;
    }
    ++admitted;
    settle(i, 5);
  }
  EXPECT_EQ(admitted, 125U);
  EXPECT_LE(ledger->stats().instances, 125U);
  advance(3600 * kSecond);  // the window is over: they are empty and make room
  for (std::uint64_t i = 2000; i <= 2100; ++i) {
    key = "agent=" + std::to_string(i);
    const Charge charge{0, key};
    EXPECT_TRUE(ledger->reserve(i, std::span(&charge, 1), {{}, 5, 1}, now).admitted);
  }
}

TEST_F(LedgerTest, NumberOfCallsIsBounded) {
  Ledger::Options options;
  options.max_reservations = 10;
  make({spec("a", BudgetUnit::kRequests, 1000)}, options);
  for (std::uint64_t i = 1; i <= 10; ++i) ASSERT_TRUE(reserve(i, 1).admitted);
  auto out = reserve(11, 1);
  ASSERT_FALSE(out.admitted);
  EXPECT_EQ(out.breaches[0].reason, BreachReason::kCapacity);
  settle(1, 1);
  EXPECT_TRUE(reserve(11, 1).admitted);
}

TEST_F(LedgerTest, UnknownCallsAreSaidToBeUnknown) {
  make({spec("a", BudgetUnit::kRequests, 1)});
  EXPECT_FALSE(settle(9, 1).known);
  EXPECT_FALSE(progress(9, 1).known);
  EXPECT_FALSE(ledger->cancel(9, now).known);
  EXPECT_FALSE(ledger->settle_estimated(9, now).known);
}

TEST(Key, ValuesAreEscapedAndBounded) {
  model::Exchange e;
  e.subject.agent = "a,b=c\\d\n";
  e.subject.run = "r1";
  e.subject.labels["team"] = "red";
  EXPECT_EQ(key_of({}, e), "");
  EXPECT_EQ(key_of({"agent", "run"}, e), "agent=a\\,b\\=c\\\\d\\x0a,run=r1");
  EXPECT_EQ(key_of({"label.team", "label.none"}, e), "label.team=red,label.none=");
  e.request_model = std::string(100'000, 'x');
  const std::string one = key_of({"model"}, e);
  e.request_model.back() = 'y';
  const std::string two = key_of({"model"}, e);
  EXPECT_LT(one.size(), 300U);
  EXPECT_NE(one, two);
}

}  // namespace
}  // namespace penstock::ledger
