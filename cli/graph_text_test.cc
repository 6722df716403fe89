#include "cli/graph_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "userspace/api/message_json.h"

namespace penstock::cli {
namespace {

using ::testing::HasSubstr;

api::CallGraph graph_of(std::string_view json) {
  api::CallGraph graph;
  EXPECT_TRUE(api::from_json(json, graph));
  return graph;
}

TEST(GraphText, DrawsNodesByKindAndEdgesWithWhatTheyCost) {
  const api::CallGraph graph = graph_of(R"({
    "nodes":[{"kind":"agent","name":"nightly"},{"kind":"agent","name":"worker"},{"kind":"model","name":"openai/gpt-5"},
             {"kind":"tool","name":"search.web"},{"kind":"peer","name":"helper.example.com"}],
    "edges":[{"from":0,"to":1,"kind":"start","count":1},
             {"from":0,"to":2,"kind":"call","count":2,"input_tokens":400,"output_tokens":70,"cost_nano_usd":12000000},
             {"from":0,"to":4,"kind":"call","count":3,"refused":1,"errors":2},
             {"from":2,"to":3,"kind":"ask","count":1}]})");
  EXPECT_EQ(mermaid(graph),
            "flowchart LR\n"
            "  n0[\"nightly\"]\n"
            "  n1[\"worker\"]\n"
            "  n2([\"openai/gpt-5\"])\n"
            "  n3[[\"search.web\"]]\n"
            "  n4{{\"helper.example.com\"}}\n"
            "  n0 -.->|\"1 start\"| n1\n"
            "  n0 -->|\"2 calls, 470 tokens, $0.012\"| n2\n"
            "  n0 -->|\"3 calls, 1 refused, 2 failed\"| n4\n"
            "  n2 -.->|\"1 ask\"| n3\n");
  EXPECT_THAT(dot(graph), HasSubstr("  n2 [label=\"openai/gpt-5\", shape=ellipse];\n"));
  EXPECT_THAT(dot(graph), HasSubstr("  n2 -> n3 [label=\"1 ask\", style=dashed];\n"));
}

TEST(GraphText, WhatIsUnknownIsALowerBound) {
  api::GraphEdge edge;
  edge.set_kind("call");
  edge.set_count(3);
  edge.set_input_tokens(101);
  edge.set_output_tokens(21);
  edge.set_without_usage(1);
  edge.set_cost_nano_usd(1'000'000'000);
  edge.set_unpriced(1);
  EXPECT_EQ(edge_label(edge), "3 calls, ≥122 tokens, ≥$1.00");
}

TEST(GraphText, NamesCannotAddMarkup) {
  api::CallGraph graph;
  graph.add_nodes()->set_kind("tool");
  graph.mutable_nodes(0)->set_name("x\"]\n  n9[\"evil\\\x01");
  EXPECT_THAT(mermaid(graph), HasSubstr("[[\"x#34;#93;   n9#91;#34;evil#92; \"]]\n"));
  EXPECT_THAT(dot(graph), HasSubstr("label=\"x\\\"]   n9[\\\"evil\\\\ \""));
  graph.mutable_nodes(0)->set_name("caf\xC3\xA9 \xC2\x9B[2J");
  EXPECT_THAT(dot(graph), HasSubstr("label=\"caf\xC3\xA9  [2J\""));
}

}  // namespace
}  // namespace penstock::cli
