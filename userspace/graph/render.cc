#include "userspace/graph/render.h"

#include <fmt/format.h>

#include "userspace/api/message_json.h"
#include "userspace/base/result.h"
#include "userspace/base/utf8.h"
#include "userspace/model/money.h"

namespace penstock::graph {
namespace {

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

std::string json_text(std::string_view text) {
  std::string out;
  api::append_json_string(out, text);
  return out;
}

// "12 calls, 3400 tokens, $0.05"; a lower bound is marked "≥".
std::string label(const Edge& edge) {
  const EdgeTotals& t = edge.totals;
  std::string text = fmt::format("{} {}{}", t.count, name(edge.kind), t.count == 1 ? "" : "s");
  if (t.refused > 0) text += fmt::format(", {} refused", t.refused);
  if (t.errors > 0) text += fmt::format(", {} failed", t.errors);
  const std::uint64_t tokens = t.input_tokens + t.output_tokens;
  if (tokens > 0 || t.without_usage > 0) text += fmt::format(", {}{} tokens", t.without_usage > 0 ? "≥" : "", tokens);
  if (t.cost.value > 0) text += fmt::format(", {}${}", t.unpriced > 0 ? "≥" : "", model::format_usd(t.cost));
  return text;
}

std::string mermaid(const Graph& graph) {
  static constexpr std::string_view kOpen[] = {"[\"", "([\"", "[[\"", "{{\""};
  static constexpr std::string_view kClose[] = {"\"]", "\"])", "\"]]", "\"}}"};
  std::string out = "flowchart LR\n";
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const auto shape = static_cast<std::size_t>(graph.nodes[i].kind);
    out += fmt::format("  n{}{}{}{}\n", i, kOpen[shape], mermaid_text(graph.nodes[i].name), kClose[shape]);
  }
  for (const Edge& e : graph.edges)
    out += fmt::format("  n{} {}|\"{}\"| n{}\n", e.from, e.kind == EdgeKind::kCall ? "-->" : "-.->", label(e), e.to);
  return out;
}

std::string dot(const Graph& graph) {
  static constexpr std::string_view kShapes[] = {"box", "ellipse", "component", "hexagon"};
  std::string out = "digraph penstock {\n  rankdir=LR;\n";
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    out += fmt::format("  n{} [label=\"{}\", shape={}];\n", i, dot_text(graph.nodes[i].name),
                       kShapes[static_cast<std::size_t>(graph.nodes[i].kind)]);
  for (const Edge& e : graph.edges)
    out += fmt::format("  n{} -> n{} [label=\"{}\"{}];\n", e.from, e.to, label(e),
                       e.kind == EdgeKind::kCall ? "" : ", style=dashed");
  return out + "}\n";
}

std::string json(const Graph& graph) {
  std::string out = "{\"nodes\":[";
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    out += fmt::format("{}{{\"id\":{},\"kind\":\"{}\",\"name\":{}}}", i == 0 ? "" : ",", i, name(graph.nodes[i].kind),
                       json_text(graph.nodes[i].name));
  out += "],\"edges\":[";
  bool first = true;
  for (const Edge& e : graph.edges) {
    const EdgeTotals& t = e.totals;
    out += fmt::format(
        "{}{{\"from\":{},\"to\":{},\"kind\":\"{}\",\"count\":{},\"refused\":{},\"errors\":{},\"input_tokens\":{},"
        "\"output_tokens\":{},"
        "\"without_usage\":{},\"cost_nano_usd\":{},\"unpriced\":{}}}",
        first ? "" : ",", e.from, e.to, name(e.kind), t.count, t.refused, t.errors, t.input_tokens, t.output_tokens,
        t.without_usage, t.cost.value, t.unpriced);
    first = false;
  }
  return out + "]}\n";
}

}  // namespace

std::optional<Format> format_from(std::string_view name) {
  if (name == "mermaid") return Format::kMermaid;
  if (name == "dot") return Format::kDot;
  if (name == "json") return Format::kJson;
  return std::nullopt;
}

std::string render(const Graph& graph, Format format) {
  switch (format) {
    case Format::kMermaid:
      return mermaid(graph);
    case Format::kDot:
      return dot(graph);
    case Format::kJson:
      return json(graph);
  }
  PN_BUG("enum value out of range");
}

}  // namespace penstock::graph
