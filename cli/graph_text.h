// A call graph as text that other tools draw. Names come from traffic and are escaped: a tool's name cannot add markup,
// an edge or a line. Thread-safe.
#pragma once

#include <string>

#include "userspace/api/control.pb.h"

namespace penstock::cli {

// "12 calls, 3400 tokens, $0.05"; a lower bound is marked "≥".
std::string edge_label(const api::GraphEdge& edge);

std::string mermaid(const api::CallGraph& graph);
std::string dot(const api::CallGraph& graph);

}  // namespace penstock::cli
