#include "userspace/api/nearest.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace penstock::api {
namespace {

constexpr std::size_t kMaxWord = 64;

// Optimal string alignment distance; both words are at most kMaxWord long.
std::size_t distance(std::string_view a, std::string_view b) {
  using Row = std::array<std::size_t, kMaxWord + 1>;
  Row before_last{}, last{}, row{};
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t differ = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + differ});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = last;
    last = row;
  }
  return last[b.size()];
}

}  // namespace

std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.empty() || word.size() > kMaxWord) return std::nullopt;
  const std::size_t tolerated = std::max<std::size_t>(1, word.size() / 3);
  std::size_t best = tolerated + 1;
  std::optional<std::string> found;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kMaxWord) continue;
    const std::size_t d = distance(word, candidate);
    if (d < best && d < candidate.size()) {
      best = d;
      found = candidate;
    }
  }
  return found;
}

std::string nearest_hint(std::string_view word, const std::vector<std::string>& candidates, std::string_view what) {
  if (auto near = nearest(word, candidates)) return "did you mean `" + *near + "`?";
  std::string hint = "known " + std::string(what) + ":";
  for (std::size_t i = 0; i < candidates.size(); ++i) hint += (i == 0 ? " " : ", ") + candidates[i];
  return hint;
}

}  // namespace penstock::api
