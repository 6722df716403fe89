// The call graph as the API has it.
#include <fmt/format.h>

#include "userspace/daemon/control_api.h"

namespace penstock::daemon {
namespace {

api::GraphEdge edge_of(const graph::Edge& edge) {
  const graph::EdgeTotals& totals = edge.totals;
  api::GraphEdge out;
  out.set_from(static_cast<std::uint32_t>(edge.from));
  out.set_to(static_cast<std::uint32_t>(edge.to));
  out.set_kind(std::string(graph::name(edge.kind)));
  out.set_count(totals.count);
  out.set_refused(totals.refused);
  out.set_errors(totals.errors);
  out.set_without_usage(totals.without_usage);
  out.set_unpriced(totals.unpriced);
  if (totals.input_tokens > 0 || totals.output_tokens > 0) {
    out.set_input_tokens(totals.input_tokens);
    out.set_output_tokens(totals.output_tokens);
  }
  if (totals.cost.value > 0) out.set_cost_nano_usd(totals.cost.value);
  return out;
}

}  // namespace

base::Result<api::CallGraph> ControlApi::get_graph(const api::Peer&, const api::GetGraphRequest& request) {
  d_.drain();  // what has happened until now
  const graph::Graph graph = request.has_run() ? d_.calls_.of_run(request.run()) : d_.calls_.all();
  if (request.has_run() && graph.nodes.empty())
    return base::Error{base::ErrorCode::kNotFound, 0,
                       fmt::format("no calls of run \"{}\" are remembered", request.run()),
                       "`penstock top --by run` lists the runs"};
  api::CallGraph out;
  for (const graph::Node& node : graph.nodes) {
    api::GraphNode& to = *out.add_nodes();
    to.set_kind(std::string(graph::name(node.kind)));
    to.set_name(node.name);
  }
  for (const graph::Edge& edge : graph.edges) *out.add_edges() = edge_of(edge);
  out.set_forgotten_runs(d_.calls_.forgotten_runs());
  return out;
}

}  // namespace penstock::daemon
