#include "userspace/api/exchange_json.h"

#include <gtest/gtest.h>

#include <random>

#include "userspace/api/convert.h"
#include "userspace/api/message_json.h"

namespace penstock::api {
namespace {

std::string line(const model::Exchange& x) {
  std::string out;
  append_exchange_json(out, x);
  return out;
}

model::Exchange full() {
  model::Exchange x;
  x.id = 7;
  x.connection = 4711;
  x.kind = model::Kind::kLlm;
  x.provider = "openai";
  x.operation = "chat";
  x.host = "api.openai.com";
  x.port = 443;
  x.method = "POST";
  x.path = "/v1/chat/completions";
  x.request_model = "gpt-5-mini";
  x.response_model = "gpt-5-mini-2025-08-07";
  x.usage.input_tokens = 1200;
  x.usage.output_tokens = 0;
  x.usage.cache_read_tokens = 1024;
  x.usage_status = model::UsageStatus::kExact;
  x.cost = model::NanoUsd{1'234'567};
  x.price_status = model::PriceStatus::kExact;
  x.finish_reason = "tool_calls";
  x.tool_calls = {
      {model::CallId(std::string("call_1")), "search"}, {model::CallId(std::int64_t{-3}), "fetch"}, {{}, "x"}};
  x.stream = true;
  x.status = 200;
  x.error = model::ExchangeError{200, true, "server_error"};
  x.subject.agent = "python3:agent.py";
  x.subject.run = "python3:agent.py/12-3456";
  x.subject.user = "ada";
  x.subject.ns = "research";
  x.subject.process = {12, 3456};
  x.verdict = {model::Action::kHold, model::Mode::kStrict, "team", "daily", "budget", 81'000};
  x.timing = {1'700'000'000'000'000'000, 10, 20, std::nullopt, 40};
  x.coverage = {3, true};
  x.request.body_bytes = 99;
  x.request.max_output_tokens = 16;
  x.request.offered_tools = {"search", "fetch"};
  x.request.tool_results = {model::CallId(std::string("call_0")), model::CallId(std::int64_t{9})};
  x.iterations = {{"gpt-5-nano", x.usage}};
  return x;
}

TEST(ExchangeJson, IsTheLinePeopleRead) {
  model::Exchange x = full();
  x.request = {};
  x.iterations.clear();
  EXPECT_EQ(
      line(x),
      R"({"id":7,"kind":"llm","provider":"openai","operation":"chat","request_model":"gpt-5-mini",)"
      R"("response_model":"gpt-5-mini-2025-08-07","usage":{"input_tokens":1200,"output_tokens":0,"cache_read_tokens":1024},)"
      R"("usage_status":"exact","cost_nano_usd":1234567,"price_status":"exact","finish_reason":"tool_calls",)"
      R"("tool_calls":[{"name":"search","id":"call_1"},{"name":"fetch","id_number":-3},{"name":"x"}],)"
      R"("stream":true,"status":200,"error":{"status":200,"in_stream":true,"type":"server_error"},)"
      R"("agent":"python3:agent.py","run":"python3:agent.py/12-3456","pid":12,)"
      R"("verdict":{"action":"hold","mode":"strict","policy":"team","rule":"daily","reason":"budget","gate_ns":81000},)"
      R"("timing":{"start_real_ns":1700000000000000000,"request_sent_ns":10,"first_chunk_ns":20,"total_ns":40},)"
      R"("coverage":{"lost_bytes":3,"truncated_start":true},"connection":4711,"host":"api.openai.com","port":443,)"
      R"("method":"POST","path":"/v1/chat/completions","request":{},"user":"ada","namespace":"research"})");
}

TEST(ExchangeJson, UnknownIsAbsentAndZeroIsPrinted) {
  const std::string text = line(model::Exchange{});
  EXPECT_EQ(text.find("input_tokens"), std::string::npos);
  EXPECT_EQ(text.find("cost_nano_usd"), std::string::npos);
  EXPECT_EQ(text.find("\"status\""), std::string::npos);
  EXPECT_NE(line(full()).find("\"output_tokens\":0"), std::string::npos);
}

TEST(ExchangeJson, IsExactlyTheMessage) {
  for (const auto& x : {model::Exchange{}, full()}) {
    EXPECT_EQ(line(x), to_json(to_proto(x)));
    Exchange parsed;
    ASSERT_TRUE(from_json(line(x), parsed)) << line(x);
    EXPECT_EQ(to_json(parsed), line(x));
  }
}

TEST(ExchangeJson, HostileNamesStayOneValidLine) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    model::Exchange x = full();
    const auto noise = [&] {
      std::string s(random() % 24, ' ');
      for (char& c : s) c = static_cast<char>(random() % 256);
      return s;
    };
    x.request_model = noise();
    x.path = noise();
    x.tool_calls[0].name = noise();
    x.error->type = noise();
    x.request.offered_tools = {noise(), noise()};
    const std::string text = line(x);
    EXPECT_EQ(text.find('\n'), std::string::npos);
    EXPECT_EQ(text, to_json(to_proto(x)));
    Exchange parsed;
    ASSERT_TRUE(from_json(text, parsed)) << text;
  }
}

}  // namespace
}  // namespace penstock::api
