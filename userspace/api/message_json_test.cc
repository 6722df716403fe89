#include "userspace/api/message_json.h"

#include <gtest/gtest.h>

#include "userspace/api/control.pb.h"
#include "userspace/api/dispatch.h"
#include "userspace/api/selector.h"

namespace penstock::api {
namespace {

TEST(MessageJson, NumbersAreNumbersAndAbsentIsAbsent) {
  BudgetState b;
  b.set_name("daily");
  b.mutable_nano_usd()->set_limit(25'000'000'000);
  b.mutable_nano_usd()->set_remaining(-1);
  EXPECT_EQ(
      to_json(b),
      R"({"name":"daily","policy":"","key":"","nano_usd":{"limit":25000000000,"spent":0,"reserved":0,"remaining":-1},)"
      R"("window":"","on_breach":"","state":""})");
  BudgetState back;
  ASSERT_TRUE(from_json(to_json(b), back));
  EXPECT_EQ(back.nano_usd().limit(), 25'000'000'000);
}

TEST(MessageJson, PrettyPrintsMapsInOrder) {
  Counter c;
  c.set_name("x");
  (*c.mutable_labels())["b"] = "2";
  (*c.mutable_labels())["a"] = "1";
  EXPECT_EQ(to_json(c, JsonStyle::kPretty),
            "{\n  \"name\": \"x\",\n  \"labels\": {\n    \"a\": \"1\",\n    \"b\": \"2\"\n  },\n  \"value\": 0\n}");
}

TEST(MessageJson, RefusesWhatItDoesNotKnow) {
  SetBudgetRequest request;
  EXPECT_FALSE(from_json(R"({"nmae":"x"})", request));
  EXPECT_FALSE(from_json(R"({"limit_tokens":"many"})", request));
  EXPECT_FALSE(from_json("{", request));
  EXPECT_TRUE(from_json(R"({"limit_nano_usd":"5","limit_tokens":18446744073709551615})", request));
  EXPECT_EQ(request.limit_tokens(), ~0ull);
}

TEST(MessageJson, SetsFieldsByName) {
  ObserveRequest request;
  EXPECT_TRUE(set_field(request, "selector.agent", "a b"));
  EXPECT_TRUE(set_field(request, "follow", ""));
  EXPECT_TRUE(set_field(request, "last", "12"));
  EXPECT_EQ(to_json(request), R"({"selector":{"agent":"a b"},"follow":true,"last":12})");
  for (const auto& [name, value] : {std::pair{"nope", "1"},
                                    {"last", "-1"},
                                    {"last", "1x"},
                                    {"selector", "x"},
                                    {"last.x", "1"},
                                    {"follow", "maybe"},
                                    {"selector.pid", "4294967296"}})
    EXPECT_FALSE(set_field(request, name, value)) << name;
}

TEST(Selector, RoundTrips) {
  for (const char* text :
       {"all", "agent=a=b", "run=x/1-2", "pid=7", "exchange=18446744073709551615", "cgroup=/a", "namespace=n"}) {
    auto s = parse_selector(text);
    ASSERT_TRUE(s) << text;
    EXPECT_EQ(format_selector(*s), text);
  }
  for (const char* text : {"", "agent", "agent=", "nope=1", "pid=x", "all=true", "=x"})
    EXPECT_FALSE(parse_selector(text)) << text;
}

TEST(Selector, MatchesWholeCgroupNamesOnly) {
  model::Exchange x;
  x.subject.cgroup = "/penstock/run-1";
  x.response_model = "m";
  EXPECT_TRUE(matches(*parse_selector("cgroup=/penstock"), x));
  EXPECT_FALSE(matches(*parse_selector("cgroup=/pen"), x));
  EXPECT_TRUE(matches(*parse_selector("model=m"), x));
  EXPECT_FALSE(matches(*parse_selector("model=m"), x.subject));
  EXPECT_TRUE(matches(Selector{}, x));
}

TEST(Routes, EachRpcHasAnOwnPath) {
  for (const Route& route : routes()) {
    std::string path = route.path;
    for (std::size_t open; (open = path.find('{')) != std::string::npos;)
      path.replace(open, path.find('}') - open + 1, "a%2Fb");
    const RouteMatch match = match_route(route.method, path);
    ASSERT_NE(match.route, nullptr) << route.path;
    EXPECT_EQ(match.route->name, route.name);
    for (const auto& [_, value] : match.fields) EXPECT_EQ(value, "a/b");
  }
  EXPECT_TRUE(match_route("PUT", "/v1/status").path_known);
  EXPECT_EQ(match_route("GET", "/v1/statuses").route, nullptr);
  EXPECT_EQ(match_route("GET", "/v1/runs/").route, nullptr);
}

}  // namespace
}  // namespace penstock::api
