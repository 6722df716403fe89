#include "userspace/graph/lineage.h"

namespace penstock::graph {
namespace {

// An id longer than this comes from no API: it is not worth remembering.
constexpr std::size_t kMaxId = 256;

}  // namespace

std::optional<std::string> Lineage::key(const std::string& run, const model::CallId& id) {
  if (const auto* text = std::get_if<std::string>(&id)) {
    if (text->empty() || text->size() > kMaxId) return std::nullopt;
    return run + '\0' + 's' + *text;
  }
  if (const auto* number = std::get_if<std::int64_t>(&id)) return run + '\0' + 'n' + std::to_string(*number);
  return std::nullopt;
}

void Lineage::answered(const model::Exchange& e) {
  if (e.kind != model::Kind::kLlm) return;
  for (const model::ToolCall& call : e.tool_calls)
    if (auto k = key(e.subject.run, call.id)) askers_.touch(*k) = e.id;
}

std::optional<std::uint64_t> Lineage::parent(const model::Exchange& e) const {
  std::optional<std::uint64_t> latest;
  for (const model::CallId& id : e.request.tool_results) {
    const auto k = key(e.subject.run, id);
    const std::uint64_t* asker = k ? askers_.find(*k) : nullptr;
    // A conversation carries all its earlier results along: the youngest asker is the one that is answered now.
    if (asker != nullptr && *asker < e.id && (!latest || *asker > *latest)) latest = *asker;
  }
  return latest;
}

}  // namespace penstock::graph
