#include "userspace/graph/call_graph.h"

#include <algorithm>

#include "userspace/base/result.h"
#include "userspace/base/utf8.h"

namespace penstock::graph {
namespace {

constexpr std::string_view kOther = "(other)";
constexpr std::string_view kUnknown = "(unknown)";

void add(EdgeTotals& to, const EdgeTotals& more) {
  to.count += more.count;
  to.refused += more.refused;
  to.errors += more.errors;
  to.input_tokens += more.input_tokens;
  to.output_tokens += more.output_tokens;
  to.without_usage += more.without_usage;
  to.cost = to.cost + more.cost;
  to.unpriced += more.unpriced;
}

bool refused(model::Action action) {
  return action == model::Action::kDeny || action == model::Action::kCut || action == model::Action::kKill;
}

// A refused request has neither tokens nor a price: it is not counted as one whose tokens are unknown.
EdgeTotals totals_of(const model::Exchange& e) {
  EdgeTotals t;
  t.count = 1;
  t.refused = refused(e.verdict.action) ? 1 : 0;
  t.errors = e.error ? 1 : 0;
  const bool left = e.verdict.action != model::Action::kDeny && e.verdict.action != model::Action::kKill;
  if (e.kind != model::Kind::kLlm || !left) return t;
  t.input_tokens = e.usage.input_tokens.value_or(0);
  t.output_tokens = e.usage.output_tokens.value_or(0);
  const bool known = e.usage.input_tokens && e.usage.output_tokens &&
                     e.usage_status != model::UsageStatus::kIncomplete &&
                     e.usage_status != model::UsageStatus::kUnknown;
  t.without_usage = known ? 0 : 1;
  if (e.cost) {
    t.cost = *e.cost;
  } else {
    t.unpriced = 1;
  }
  return t;
}

std::string model_name(const model::Exchange& e) {
  const std::string& model = e.response_model.empty() ? e.request_model : e.response_model;
  return e.provider + "/" + (model.empty() ? std::string(kUnknown) : model);
}

}  // namespace

std::string_view name(NodeKind kind) {
  switch (kind) {
    case NodeKind::kAgent:
      return "agent";
    case NodeKind::kModel:
      return "model";
    case NodeKind::kTool:
      return "tool";
    case NodeKind::kPeer:
      return "peer";
  }
  PN_BUG("enum value out of range");
}

std::string_view name(EdgeKind kind) {
  switch (kind) {
    case EdgeKind::kCall:
      return "call";
    case EdgeKind::kAsk:
      return "ask";
    case EdgeKind::kStart:
      return "start";
  }
  PN_BUG("enum value out of range");
}

CallGraph::CallGraph(const Options& options) : options_(options), runs_(options.max_runs) {}

Node CallGraph::node(Run& run, NodeKind kind, std::string_view name) const {
  name = base::utf8_prefix(name, options_.max_name_length);
  Node wanted{kind, std::string(name.empty() ? kUnknown : name)};
  if (run.nodes.contains(wanted)) return wanted;
  std::size_t& count = run.count[kind];
  if (count >= options_.max_nodes_per_run) return {kind, std::string(kOther)};
  ++count;
  run.nodes.emplace(wanted, true);
  return wanted;
}

EdgeTotals& CallGraph::edge(Run& run, NodeKind from_kind, std::string_view from, NodeKind to_kind, std::string_view to,
                            EdgeKind kind) const {
  Node source = node(run, from_kind, from);
  Node target = node(run, to_kind, to);
  return run.edges[{std::move(source), std::move(target), kind}];
}

bool CallGraph::record(const model::Exchange& e) {
  if (e.kind == model::Kind::kHttp) return false;
  Run& run = runs_.touch(e.subject.run);
  const std::string& agent = e.subject.agent;
  const std::size_t agents = run.count[NodeKind::kAgent];
  const EdgeTotals once = totals_of(e);
  const auto call = [&](NodeKind kind, std::string_view name) {
    add(edge(run, NodeKind::kAgent, agent, kind, name, EdgeKind::kCall), once);
  };
  switch (e.kind) {
    case model::Kind::kHttp:
      break;
    case model::Kind::kLlm: {
      const std::string model = model_name(e);
      call(NodeKind::kModel, model);
      for (const model::ToolCall& tool : e.tool_calls)
        ++edge(run, NodeKind::kModel, model, NodeKind::kTool, tool.name, EdgeKind::kAsk).count;
      break;
    }
    case model::Kind::kMcp:
      if (e.tool_calls.empty()) call(NodeKind::kTool, e.operation);
      for (const model::ToolCall& tool : e.tool_calls) call(NodeKind::kTool, tool.name);
      break;
    case model::Kind::kA2a:
      call(NodeKind::kPeer, e.host);
      break;
  }
  return run.count[NodeKind::kAgent] > agents;
}

void CallGraph::started(const model::Subject& parent, const model::Subject& child) {
  ++edge(runs_.touch(parent.run), NodeKind::kAgent, parent.agent, NodeKind::kAgent, child.agent, EdgeKind::kStart)
        .count;
  if (child.run != parent.run)
    ++edge(runs_.touch(child.run), NodeKind::kAgent, parent.agent, NodeKind::kAgent, child.agent, EdgeKind::kStart)
          .count;
}

Graph CallGraph::drawn(const std::map<Key, EdgeTotals>& edges) {
  Graph graph;
  std::map<Node, std::size_t> index;
  for (const auto& [key, totals] : edges) {
    index.emplace(key.from, 0);
    index.emplace(key.to, 0);
  }
  for (auto& [node, number] : index) {
    number = graph.nodes.size();
    graph.nodes.push_back(node);
  }
  for (const auto& [key, totals] : edges) graph.edges.push_back({index[key.from], index[key.to], key.kind, totals});
  return graph;
}

Graph CallGraph::of_run(std::string_view run) const {
  const Run* found = runs_.find(run);
  return found == nullptr ? Graph{} : drawn(found->edges);
}

Graph CallGraph::all() const {
  std::map<Key, EdgeTotals> together;
  for (const auto& [id, run] : runs_.entries())
    for (const auto& [key, totals] : run.edges) {
      // An agent started across runs is in both of them.
      EdgeTotals& sum = together[key];
      if (key.kind == EdgeKind::kStart) {
        sum.count = std::max(sum.count, totals.count);
      } else {
        add(sum, totals);
      }
    }
  return drawn(together);
}

std::vector<std::string> CallGraph::runs() const {
  std::vector<std::string> ids;
  for (const auto& [id, run] : runs_.entries()) ids.push_back(id);
  return ids;
}

std::uint32_t delegation_depth(const model::Subject& subject, const std::vector<model::Subject>& ancestors) {
  std::uint32_t depth = 0;
  const std::string* below = &subject.agent;
  for (const model::Subject& ancestor : ancestors) {
    if (ancestor.agent != *below) ++depth;
    below = &ancestor.agent;
  }
  return depth;
}

}  // namespace penstock::graph
