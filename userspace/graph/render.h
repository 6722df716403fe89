// A graph as text: for `penstock graph -o mermaid|dot|json`. Names come from traffic and are escaped: a tool's name
// cannot add markup, an edge or a line.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "userspace/graph/call_graph.h"

namespace penstock::graph {

enum class Format : std::uint8_t { kMermaid, kDot, kJson };
std::optional<Format> format_from(std::string_view name);  // mermaid dot json

std::string render(const Graph& graph, Format format);

}  // namespace penstock::graph
