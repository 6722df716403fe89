// Who called what: agents, models, tools and remote agents of each run, with counts, tokens and money on the edges.
//
// Fed by finished exchanges and by started agents; pure bookkeeping without clock or file. Memory is bounded: runs not
// seen for longest are forgotten (counted), and in a run that outgrows its share further nodes are drawn together as
// "(other)", so that sums stay right. Names come from traffic: they are cut to a bounded length here, and escaped by
// whoever draws. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace/graph/bounded_map.h"
#include "userspace/model/exchange.h"

namespace penstock::graph {

enum class NodeKind : std::uint8_t { kAgent, kModel, kTool, kPeer };
std::string_view name(NodeKind kind);  // agent model tool peer

struct Node {
  NodeKind kind = NodeKind::kAgent;
  std::string name;  // agent; provider/model; tool; host of a remote agent
  auto operator<=>(const Node&) const = default;
};

enum class EdgeKind : std::uint8_t {
  kCall,   // a request that left, or was refused
  kAsk,    // a model's answer that asks for a tool
  kStart,  // an agent that started another one
};
std::string_view name(EdgeKind kind);  // call ask start

struct EdgeTotals {
  std::uint64_t count = 0;
  std::uint64_t refused = 0;  // of them: denied, cut or killed
  std::uint64_t errors = 0;   // of them: answered with an error
  std::uint64_t input_tokens = 0;
  std::uint64_t output_tokens = 0;
  std::uint64_t without_usage = 0;  // calls whose tokens are unknown or a lower bound: the sums are lower bounds
  model::NanoUsd cost;
  std::uint64_t unpriced = 0;  // calls not in `cost`
};

struct Edge {
  std::size_t from = 0;  // indexes of Graph::nodes
  std::size_t to = 0;
  EdgeKind kind = EdgeKind::kCall;
  EdgeTotals totals;
};

// A copy for drawing; nodes and edges are in a stable order.
struct Graph {
  std::vector<Node> nodes;
  std::vector<Edge> edges;
};

class CallGraph {
 public:
  struct Options {
    std::size_t max_runs = 1024;
    std::size_t max_nodes_per_run = 256;  // of each kind, "(other)" not counted
    std::size_t max_name_length = 128;    // code points
  };
  explicit CallGraph(const Options& options);

  // Once for each exchange, when it is over. Plain HTTP is not drawn. Returns whether its agent is new to its run.
  bool record(const model::Exchange& exchange);
  // `parent` started `child`, another agent: drawn in both runs.
  void started(const model::Subject& parent, const model::Subject& child);

  Graph of_run(std::string_view run) const;  // empty for an unknown run
  Graph all() const;                         // every run, equal nodes drawn together
  std::vector<std::string> runs() const;     // the latest first
  std::uint64_t forgotten_runs() const { return runs_.forgotten(); }

 private:
  struct Key {
    Node from;
    Node to;
    EdgeKind kind = EdgeKind::kCall;
    auto operator<=>(const Key&) const = default;
  };
  struct Run {
    std::map<Node, bool> nodes;
    std::map<NodeKind, std::size_t> count;
    std::map<Key, EdgeTotals> edges;
  };
  Node node(Run& run, NodeKind kind, std::string_view name) const;
  EdgeTotals& edge(Run& run, NodeKind from_kind, std::string_view from, NodeKind to_kind, std::string_view to,
                   EdgeKind kind) const;
  static Graph drawn(const std::map<Key, EdgeTotals>& edges);

  Options options_;
  BoundedMap<std::string, Run> runs_;
};

// How many agents stand between the origin and the caller: changes of agent along the chain. `ancestors` are the agents
// on whose behalf `subject` acts, nearest first; one without ancestors has depth 0.
std::uint32_t delegation_depth(const model::Subject& subject, const std::vector<model::Subject>& ancestors);

}  // namespace penstock::graph
