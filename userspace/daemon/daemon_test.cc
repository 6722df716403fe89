// The daemon's parts that need neither root nor a kernel.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "userspace/daemon/activity.h"
#include "userspace/daemon/endpoint_names.h"
#include "userspace/daemon/policy_store.h"
#include "userspace/daemon/settings.h"

namespace penstock::daemon {
namespace {

class PolicyStoreTest : public testing::Test {
 protected:
  PolicyStoreTest() { std::filesystem::create_directories(folder_); }
  ~PolicyStoreTest() override { std::filesystem::remove_all(folder_); }
  PolicyStore::Settings settings() {
    PolicyStore::Settings settings;
    settings.path = folder_ + "/policies.yaml";
    settings.applied_dir = folder_ + "/applied";
    settings.support = policy_support();
    return settings;
  }
  void write(const std::string& text) { std::ofstream(folder_ + "/policies.yaml") << text; }
  PolicyStore open() {
    auto store = PolicyStore::open(settings(), 1);
    EXPECT_TRUE(store.has_value()) << (store ? "" : store.error().message());
    return std::move(store).value();
  }
  std::vector<std::string> names(const PolicyStore& store) {
    std::vector<std::string> out;
    for (const auto& policy : store.set().policies()) out.push_back(policy.name());
    return out;
  }
  std::string folder_ = testing::TempDir() + "/penstock-policies-" + std::to_string(::getpid());
};

constexpr char kA[] = "kind: Policy\nname: a\nmode: enforce\nbudgets:\n  - { name: d, usd: 1 }\n";
constexpr char kB[] = "kind: Policy\nname: b\nbudgets:\n  - { name: d, usd: 2 }\n";

TEST_F(PolicyStoreTest, WhatIsAppliedSurvivesARestart) {
  write(kA);
  {
    PolicyStore store = open();
    const auto report = store.apply(kB, "b.yaml", 2);
    ASSERT_TRUE(report.has_value());
    EXPECT_TRUE(report->applied());
    EXPECT_EQ(report->policies(0).change(), "added");
  }
  PolicyStore store = open();
  EXPECT_EQ(names(store), (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(store.remove("a").has_value()) << "it belongs to the file";
  EXPECT_TRUE(store.remove("b").has_value());
  EXPECT_EQ(names(open()), std::vector<std::string>{"a"});
  EXPECT_EQ(store.remove("zzz").error().code, base::ErrorCode::kNotFound);
}

TEST_F(PolicyStoreTest, ABrokenFileIsReportedWithItsPlaceAndChangesNothing) {
  write(kA);
  PolicyStore store = open();
  int installed = 0;
  store.set_install([&installed](const auto&, bool) {
    ++installed;
    return base::Result<>();
  });
  write("kind: Policy\nname: a\nmode: loud\n");
  const auto reloaded = store.reload(settings(), 2);
  ASSERT_FALSE(reloaded.has_value());
  EXPECT_NE(reloaded.error().message().find("policies.yaml:3:7"), std::string::npos) << reloaded.error().message();
  EXPECT_EQ(installed, 0);
  EXPECT_EQ(names(store), std::vector<std::string>{"a"});
  const auto applied = store.apply("kind: Policy\nname: c\nmode: loud\n", "c.yaml", 3);
  ASSERT_TRUE(applied.has_value());
  EXPECT_FALSE(applied->valid());
  EXPECT_EQ(applied->diagnostics(0).line(), 3U);
  EXPECT_EQ(installed, 0);
}

TEST_F(PolicyStoreTest, WhatCannotBeInstalledIsNotInForce) {
  write(kA);
  PolicyStore store = open();
  store.set_install([](const auto&, bool) {
    return base::Result<>(base::Error{base::ErrorCode::kFailure, 0, "no", {}});
  });
  EXPECT_FALSE(store.apply(kB, "b.yaml", 2).has_value());
  EXPECT_EQ(names(store), std::vector<std::string>{"a"});
}

TEST_F(PolicyStoreTest, ARunsPoliciesSpeakOfThatRunOnlyAndEndWithIt) {
  write(kA);
  PolicyStore store = open();
  policy::RunLimits limits;
  limits.max_tokens = 10;
  ASSERT_TRUE(store.add_run("demo-1", limits, true, kB, "b.yaml").has_value());
  ASSERT_EQ(store.set().policies_size(), 3);
  for (const auto& policy : store.set().policies()) {
    if (policy.name() == "a") continue;
    EXPECT_EQ(policy.match().run(0), "demo-1");
  }
  EXPECT_FALSE(
      store.apply("kind: Policy\nname: run-demo-1\nbudgets:\n  - { name: d, usd: 2 }\n", "x.yaml", 3).has_value());
  store.remove_run("demo-1");
  EXPECT_EQ(names(store), std::vector<std::string>{"a"});
}

TEST(EndpointNames, HostAndPort) {
  EXPECT_EQ(split_host_port("llm.example"), (HostPort{"llm.example", std::nullopt}));
  EXPECT_EQ(split_host_port("llm.example:8443"), (HostPort{"llm.example", 8443}));
  EXPECT_EQ(split_host_port("[2001:db8::1]:8443"), (HostPort{"2001:db8::1", 8443}));
  EXPECT_EQ(split_host_port("2001:db8::1"), (HostPort{"2001:db8::1", std::nullopt}));
}

TEST(EndpointNames, PricesFollowThePortToo) {
  api::Config config;
  (*config.mutable_endpoints())["gateway.example:8001"] = "openai";
  (*config.mutable_endpoints())["gateway.example:8002"] = "anthropic";
  (*config.mutable_endpoints())["other.example"] = "openai";
  auto book = ledger::PriceBook::load(price_options(config));
  ASSERT_TRUE(book.has_value()) << book.error().message();
  const auto provider = [&](std::string_view host, std::uint16_t port, std::string_view model) {
    ledger::PriceQuery query;
    query.host = host;
    query.port = port;
    query.response_model = query.request_model = model;
    return std::string(book->lookup(query).provider);
  };
  EXPECT_EQ(provider("gateway.example", 8001, "gpt-4o"), "openai");
  EXPECT_EQ(provider("gateway.example", 8002, "claude-3-5-haiku-20241022"), "anthropic");
  EXPECT_EQ(provider("other.example", 8003, "gpt-4o"), "openai");
}

TEST(Activity, SumsSayNothingOfWhatIsUnknown) {
  base::ManualClock clock(60'000'000'000, 1'770'000'000'000'000'000);
  Activity activity(clock);
  model::Exchange exchange;
  exchange.kind = model::Kind::kLlm;
  exchange.provider = "openai";
  exchange.request_model = "m";
  exchange.subject.agent = "a";
  exchange.subject.run = "r";
  activity.on_exchange(exchange);
  EXPECT_FALSE(activity.total().input.has_value());
  EXPECT_FALSE(activity.total().cost_nano_usd.has_value());
  exchange.usage.input_tokens = 5;
  exchange.cost = model::NanoUsd{70};
  exchange.verdict.action = model::Action::kHold;
  activity.on_exchange(exchange);
  EXPECT_EQ(activity.total().calls, 2U);
  EXPECT_EQ(activity.total().input, 5U);
  EXPECT_EQ(activity.total().cost_nano_usd, 70);
  ASSERT_NE(activity.run("r"), nullptr);
  EXPECT_EQ(activity.run("r")->verdicts.at("hold"), 1U);
  EXPECT_EQ(activity.run("r")->minute.sum(clock.boot_ns()).calls, 2U);
  clock.advance_ns(61'000'000'000);
  EXPECT_EQ(activity.run("r")->minute.sum(clock.boot_ns()).calls, 0U);
}

TEST(Settings, CommandLineWinsAndMistakesAreNamed) {
  CommandLine line;
  line.state_dir = "/tmp/state";
  line.ring_bytes = 65536;
  const auto settings = load_settings(line);
  ASSERT_TRUE(settings.has_value());
  EXPECT_EQ(settings->config.state_dir(), "/tmp/state");
  EXPECT_EQ(settings->events_ring_bytes, 65536U);
  line.ring_bytes = 1000;
  EXPECT_EQ(load_settings(line).error().code, base::ErrorCode::kUsage);
  line.ring_bytes.reset();
  line.config_file = "/nonexistent.yaml";
  EXPECT_EQ(load_settings(line).error().code, base::ErrorCode::kUsage);
}

}  // namespace
}  // namespace penstock::daemon
