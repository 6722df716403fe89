#include "userspace/graph/call_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "userspace/graph/render.h"

namespace penstock::graph {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

model::Subject subject(std::string agent, std::string run) {
  model::Subject s;
  s.agent = std::move(agent);
  s.run = std::move(run);
  return s;
}

model::Exchange model_call(std::uint64_t input, std::uint64_t output, std::int64_t nano_usd) {
  model::Exchange e;
  e.kind = model::Kind::kLlm;
  e.provider = "openai";
  e.request_model = "gpt-5";
  e.subject = subject("nightly", "r1");
  e.usage.input_tokens = input;
  e.usage.output_tokens = output;
  e.usage_status = model::UsageStatus::kExact;
  e.cost = model::NanoUsd{nano_usd};
  return e;
}

model::Exchange tool_call(std::string tool) {
  model::Exchange e;
  e.kind = model::Kind::kMcp;
  e.operation = "tools/call";
  e.subject = subject("nightly", "r1");
  e.tool_calls.push_back({std::string("1"), std::move(tool)});
  return e;
}

TEST(CallGraph, AddsUpWhatAnAgentDid) {
  CallGraph calls({});
  calls.record(model_call(100, 20, 5'000'000));
  model::Exchange asking = model_call(300, 50, 7'000'000);
  asking.tool_calls.push_back({std::string("c1"), "search.web"});
  calls.record(asking);
  calls.record(tool_call("search.web"));
  model::Exchange peer;
  peer.kind = model::Kind::kA2a;
  peer.host = "helper.example.com";
  peer.subject = subject("nightly", "r1");
  calls.record(peer);
  calls.record(model::Exchange{});  // plain HTTP
  calls.started(subject("nightly", "r1"), subject("worker", "r1"));

  EXPECT_EQ(render(calls.of_run("r1"), Format::kMermaid),
            "flowchart LR\n"
            "  n0[\"nightly\"]\n"
            "  n1[\"worker\"]\n"
            "  n2([\"openai/gpt-5\"])\n"
            "  n3[[\"search.web\"]]\n"
            "  n4{{\"helper.example.com\"}}\n"
            "  n0 -.->|\"1 start\"| n1\n"
            "  n0 -->|\"2 calls, 470 tokens, $0.012\"| n2\n"
            "  n0 -->|\"1 call\"| n3\n"
            "  n0 -->|\"1 call\"| n4\n"
            "  n2 -.->|\"1 ask\"| n3\n");
  EXPECT_EQ(calls.of_run("unknown").nodes.size(), 0u);
  EXPECT_THAT(calls.runs(), ElementsAre("r1"));
}

TEST(CallGraph, WhatIsUnknownIsALowerBound) {
  CallGraph calls({});
  model::Exchange cut = model_call(100, 20, 0);
  cut.usage_status = model::UsageStatus::kIncomplete;
  cut.cost.reset();
  cut.verdict.action = model::Action::kCut;
  calls.record(cut);
  calls.record(model_call(1, 1, 1'000'000'000));
  model::Exchange denied = model_call(0, 0, 0);
  denied.usage = {};
  denied.cost.reset();
  denied.verdict.action = model::Action::kDeny;
  calls.record(denied);  // never sent: nothing about it is unknown
  const Graph graph = calls.of_run("r1");
  ASSERT_EQ(graph.edges.size(), 1u);
  EXPECT_EQ(graph.edges[0].totals.without_usage, 1u);
  EXPECT_EQ(graph.edges[0].totals.unpriced, 1u);
  EXPECT_EQ(graph.edges[0].totals.refused, 2u);
  EXPECT_THAT(render(graph, Format::kDot), HasSubstr("3 calls, 2 refused, ≥122 tokens, ≥$1.00"));
}

TEST(CallGraph, DrawsRunsTogether) {
  CallGraph calls({});
  calls.record(model_call(1, 1, 1));
  model::Exchange other = model_call(2, 2, 2);
  other.subject.run = "r2";
  calls.record(other);
  calls.started(subject("nightly", "r1"), subject("worker", "r2"));
  const Graph graph = calls.all();
  ASSERT_EQ(graph.edges.size(), 2u);
  EXPECT_EQ(graph.edges[0].totals.count, 1u);  // started once, though drawn in both runs
  EXPECT_EQ(graph.edges[1].totals.input_tokens, 3u);
  EXPECT_EQ(calls.of_run("r2").edges.size(), 2u);
}

TEST(CallGraph, MemoryIsBounded) {
  CallGraph::Options options;
  options.max_runs = 3;
  options.max_nodes_per_run = 2;
  options.max_name_length = 8;
  CallGraph calls(options);
  for (int i = 0; i < 10; ++i) {
    model::Exchange e = tool_call("tool" + std::to_string(i));
    e.subject.run = "run" + std::to_string(i);
    calls.record(e);
  }
  EXPECT_THAT(calls.runs(), ElementsAre("run9", "run8", "run7"));
  EXPECT_EQ(calls.forgotten_runs(), 7u);

  for (int i = 0; i < 100; ++i) calls.record(tool_call("t" + std::to_string(i)));
  const Graph graph = calls.of_run("r1");
  EXPECT_EQ(graph.nodes.size(), 4u);  // the agent, two tools, (other)
  std::uint64_t count = 0;
  for (const Edge& e : graph.edges) count += e.totals.count;
  EXPECT_EQ(count, 100u);

  model::Exchange named = tool_call("1234567éxyz");
  named.subject.run = "fresh";
  calls.record(named);
  EXPECT_THAT(render(calls.of_run("fresh"), Format::kJson), HasSubstr("\"name\":\"1234567é\""));
}

TEST(Render, NamesCannotAddMarkup) {
  CallGraph calls({});
  calls.record(tool_call("x\"]\n  n9[\"evil\\\x01"));
  const Graph graph = calls.of_run("r1");
  EXPECT_THAT(render(graph, Format::kMermaid), HasSubstr("[[\"x#34;#93;   n9#91;#34;evil#92; \"]]\n"));
  EXPECT_THAT(render(graph, Format::kDot), HasSubstr("label=\"x\\\"]   n9[\\\"evil\\\\ \""));
  EXPECT_THAT(render(graph, Format::kJson), HasSubstr("\"name\":\"x\\\"]\\n  n9[\\\"evil\\\\\\u0001\""));
  CallGraph odd({});
  odd.record(tool_call("caf\xC3\xA9 \xC2\x9B[2J \xFF"));
  EXPECT_THAT(render(odd.of_run("r1"), Format::kDot), HasSubstr("label=\"caf\xC3\xA9  [2J \xEF\xBF\xBD\""));
  EXPECT_EQ(render({}, Format::kJson), "{\"nodes\":[],\"edges\":[]}\n");
  EXPECT_EQ(format_from("dot"), Format::kDot);
  EXPECT_EQ(format_from("svg"), std::nullopt);
}

TEST(DelegationDepth, CountsChangesOfAgent) {
  const auto chain = [](std::initializer_list<const char*> agents) {
    std::vector<model::Subject> subjects;
    for (const char* agent : agents) subjects.push_back(subject(agent, "r"));
    return subjects;
  };
  EXPECT_EQ(delegation_depth(subject("a", "r"), {}), 0u);
  EXPECT_EQ(delegation_depth(subject("a", "r"), chain({"a", "a"})), 0u);  // its own processes
  EXPECT_EQ(delegation_depth(subject("a", "r"), chain({"b"})), 1u);
  EXPECT_EQ(delegation_depth(subject("a", "r"), chain({"b", "b", "c"})), 2u);
}

}  // namespace
}  // namespace penstock::graph
