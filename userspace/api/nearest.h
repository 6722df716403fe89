// "Did you mean …?"
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::api {

// The candidate that a typing error away from `word` (insertions, deletions, substitutions and swaps of neighbours: at
// most a third of its length); nullopt when none is near. Words longer than 64 bytes are near to nothing.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates);

// A hint: "did you mean `x`?", else "known keys: a, b, c" (`what` names them: "keys", "providers").
std::string nearest_hint(std::string_view word, const std::vector<std::string>& candidates, std::string_view what);

}  // namespace penstock::api
