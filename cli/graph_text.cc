#include "cli/graph_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "userspace/base/utf8.h"
#include "userspace/model/money.h"

namespace penstock::cli {
namespace {

// How a kind of node is drawn.
struct Shape {
  std::string_view kind, open, close, dot;
};
constexpr Shape kShapes[] = {{"agent", "[\"", "\"]", "box"},
                             {"model", "([\"", "\"])", "ellipse"},
                             {"tool", "[[\"", "\"]]", "component"},
                             {"peer", "{{\"", "\"}}", "hexagon"}};

const Shape& shape_of(std::string_view kind) {
  const auto* found =
      std::find_if(std::begin(kShapes), std::end(kShapes), [&](const Shape& s) { return s.kind == kind; });
  return found != std::end(kShapes) ? *found : kShapes[0];
}

// Mermaid reads #NNN; as a character.
std::string mermaid_text(std::string_view text) {
  std::string out;
  for (char c : base::printable_utf8(text)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       static_cast<unsigned char>(c) >= 0x80 ||
                       std::string_view(" ./_-:$(),*?").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("#{};", static_cast<unsigned char>(c));
  }
  return out;
}

std::string dot_text(std::string_view text) {
  std::string out;
  for (char c : base::printable_utf8(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string edge_label(const api::GraphEdge& edge) {
  std::string text = fmt::format("{} {}{}", edge.count(), edge.kind(), edge.count() == 1 ? "" : "s");
  if (edge.refused() > 0) text += fmt::format(", {} refused", edge.refused());
  if (edge.errors() > 0) text += fmt::format(", {} failed", edge.errors());
  const std::uint64_t tokens = edge.input_tokens() + edge.output_tokens();
  if (tokens > 0 || edge.without_usage() > 0)
    text += fmt::format(", {}{} tokens", edge.without_usage() > 0 ? "≥" : "", tokens);
  if (edge.has_cost_nano_usd())
    text += fmt::format(", {}${}", edge.unpriced() > 0 ? "≥" : "", model::format_usd({edge.cost_nano_usd()}));
  return text;
}

std::string mermaid(const api::CallGraph& graph) {
  std::string out = "flowchart LR\n";
  for (int i = 0; i < graph.nodes_size(); ++i) {
    const Shape& shape = shape_of(graph.nodes(i).kind());
    out += fmt::format("  n{}{}{}{}\n", i, shape.open, mermaid_text(graph.nodes(i).name()), shape.close);
  }
  for (const api::GraphEdge& e : graph.edges())
    out += fmt::format("  n{} {}|\"{}\"| n{}\n", e.from(), e.kind() == "call" ? "-->" : "-.->", edge_label(e), e.to());
  return out;
}

std::string dot(const api::CallGraph& graph) {
  std::string out = "digraph penstock {\n  rankdir=LR;\n";
  for (int i = 0; i < graph.nodes_size(); ++i)
    out += fmt::format("  n{} [label=\"{}\", shape={}];\n", i, dot_text(graph.nodes(i).name()),
                       shape_of(graph.nodes(i).kind()).dot);
  for (const api::GraphEdge& e : graph.edges())
    out += fmt::format("  n{} -> n{} [label=\"{}\"{}];\n", e.from(), e.to(), edge_label(e),
                       e.kind() == "call" ? "" : ", style=dashed");
  return out + "}\n";
}

}  // namespace penstock::cli
