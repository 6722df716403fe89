#include "userspace/graph/call_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::graph {
namespace {

using ::testing::ElementsAre;

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
  EXPECT_TRUE(calls.record(model_call(100, 20, 5'000'000)));
  model::Exchange asking = model_call(300, 50, 7'000'000);
  asking.tool_calls.push_back({std::string("c1"), "search.web"});
  EXPECT_FALSE(calls.record(asking)) << "the agent is known";
  calls.record(tool_call("search.web"));
  model::Exchange peer;
  peer.kind = model::Kind::kA2a;
  peer.host = "helper.example.com";
  peer.subject = subject("nightly", "r1");
  calls.record(peer);
  calls.record(model::Exchange{});  // plain HTTP
  calls.started(subject("nightly", "r1"), subject("worker", "r1"));

  const Graph graph = calls.of_run("r1");
  std::vector<std::string> drawn;
  for (const Edge& e : graph.edges) {
    drawn.push_back(graph.nodes[e.from].name + " " + std::string(name(e.kind)) + " " + graph.nodes[e.to].name + " " +
                    std::to_string(e.totals.count));
  }
  EXPECT_THAT(drawn, ElementsAre("nightly start worker 1", "nightly call openai/gpt-5 2", "nightly call search.web 1",
                                 "nightly call helper.example.com 1", "openai/gpt-5 ask search.web 1"));
  const EdgeTotals& model = graph.edges[1].totals;
  EXPECT_EQ(model.input_tokens, 400u);
  EXPECT_EQ(model.output_tokens, 70u);
  EXPECT_EQ(model.cost.value, 12'000'000);
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
  EXPECT_EQ(graph.edges[0].totals.input_tokens, 101u);
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
  EXPECT_EQ(calls.of_run("fresh").nodes.back().name, "1234567é");
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
