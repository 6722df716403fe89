// penstock graph: who called what.
#include <unistd.h>

#include <string>

#include "cli/app.h"
#include "cli/graph_text.h"
#include "cli/output.h"
#include "cli/table.h"

namespace penstock::cli {
namespace {

std::string tokens(bool has, std::uint64_t n, const api::GraphEdge& edge) {
  return has ? (edge.without_usage() > 0 ? "≥" : "") + short_count(n) : kUnknown;
}

std::string text(const api::CallGraph& graph) {
  Table table({{"FROM", Align::kLeft, 12},
               {"KIND"},
               {"TO", Align::kLeft, 14},
               {"COUNT", Align::kRight},
               {"REFUSED", Align::kRight},
               {"FAILED", Align::kRight},
               {"IN", Align::kRight},
               {"OUT", Align::kRight},
               {"COST", Align::kRight}});
  for (const api::GraphEdge& e : graph.edges()) {
    const api::GraphNode& to = graph.nodes(static_cast<int>(e.to()));
    const bool model = to.kind() == "model";
    table.row({graph.nodes(static_cast<int>(e.from())).name(), e.kind(), to.kind() + " " + to.name(),
               short_count(e.count()), e.refused() > 0 ? Cell(short_count(e.refused()), Tone::kBad) : Cell(""),
               e.errors() > 0 ? Cell(short_count(e.errors()), Tone::kWarn) : Cell(""),
               model ? tokens(e.has_input_tokens(), e.input_tokens(), e) : "",
               model ? tokens(e.has_output_tokens(), e.output_tokens(), e) : "",
               model ? known(e.has_cost_nano_usd(), e.cost_nano_usd(), short_usd) : ""});
  }
  return table.text(terminal_width(STDOUT_FILENO), color_on(STDOUT_FILENO));
}

}  // namespace

void add_graph(CLI::App& app, Context& context) {
  auto* sub = command(app, "graph", "who called what: agents, models, tools and remote agents",
                      "  penstock graph\n"
                      "  penstock graph run-7f3a                   one run only\n"
                      "  penstock graph -o mermaid                 for Markdown that draws it\n"
                      "  penstock graph -o dot | dot -Tsvg > calls.svg");
  socket_option(*sub, context);
  sub->add_option("-o,--output", context.format, "table, mermaid, dot, json, jsonl (one edge per line) or yaml")
      ->check(CLI::IsMember({"table", "mermaid", "dot", "json", "jsonl", "yaml"}))
      ->type_name("FORMAT");
  auto run = std::make_shared<std::string>();
  sub->add_option("run", *run, "this run; default: all that are remembered, equal nodes drawn together");
  sub->callback([&context, run] {
    context.run = [&context, run]() -> base::Result<int> {
      api::GetGraphRequest request;
      if (!run->empty()) request.set_run(*run);
      PN_TRY(const auto graph, api::Client(context.socket).call<api::CallGraph>(request));
      if (context.format == "mermaid") return write_out(mermaid(graph)), 0;
      if (context.format == "dot") return write_out(dot(graph)), 0;
      if (context.output() != Format::kTable) return print_message(context, graph, "edges"), 0;
      if (graph.edges_size() == 0)
        print_note("no call has been seen yet");
      else
        write_out(text(graph));
      return 0;
    };
  });
}

}  // namespace penstock::cli
