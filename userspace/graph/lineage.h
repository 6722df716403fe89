// Which exchange led to which: an exchange that carries the result of a tool call continues the one whose answer asked
// for it. Call ids are matched within one run, since they are unique in a conversation only. Memory is bounded;
// forgotten ids leave an exchange without a parent. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "userspace/graph/bounded_map.h"
#include "userspace/model/exchange.h"

namespace penstock::graph {

class Lineage {
 public:
  explicit Lineage(std::size_t max_calls = 65'536) : askers_(max_calls) {}

  // The answer is complete: remembers the tool calls it asks for.
  void answered(const model::Exchange& exchange);
  // The latest exchange that asked for one of the tool calls whose results this request carries.
  std::optional<std::uint64_t> parent(const model::Exchange& exchange) const;
  std::uint64_t forgotten() const { return askers_.forgotten(); }

 private:
  static std::optional<std::string> key(const std::string& run, const model::CallId& id);
  BoundedMap<std::string, std::uint64_t> askers_;
};

}  // namespace penstock::graph
