#include "userspace/graph/loops.h"

#include <algorithm>
#include <vector>

namespace penstock::graph {

std::uint64_t call_digest(std::string_view kind, std::string_view tool, std::string_view arguments) {
  // FNV-1a, with a separator that none of the parts can imitate: their lengths.
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  const auto byte = [&](unsigned char b) { hash = (hash ^ b) * 0x100000001b3ULL; };
  for (std::string_view part : {kind, tool, arguments}) {
    for (std::size_t size = part.size(), i = 0; i < sizeof size; ++i) byte(static_cast<unsigned char>(size >> (8 * i)));
    for (char c : part) byte(static_cast<unsigned char>(c));
  }
  return hash;
}

LoopDetector::LoopDetector(const Options& options) : options_(options), runs_(options.max_runs) {}

std::uint32_t LoopDetector::same_calls(std::string_view run, std::uint64_t call, std::uint64_t now_ns,
                                       std::uint64_t within_ns) const {
  std::uint32_t count = 1;
  const std::deque<Call>* history = runs_.find(run);
  if (history == nullptr) return count;
  for (const Call& c : *history)
    if (c.digest == call && c.at_ns <= now_ns && now_ns - c.at_ns < within_ns) ++count;
  return count;
}

std::uint32_t LoopDetector::cycles(std::string_view run, std::uint64_t call) const {
  const std::deque<Call>* history = runs_.find(run);
  if (history == nullptr) return 1;
  std::vector<std::uint64_t> calls;
  calls.reserve(history->size() + 1);
  for (const Call& c : *history) calls.push_back(c.digest);
  calls.push_back(call);
  std::uint32_t most = 1;
  for (std::size_t period = 2; period <= options_.max_period && 2 * period <= calls.size(); ++period) {
    const auto last = calls.end() - static_cast<std::ptrdiff_t>(period);
    // The same call in a row is same_calls' business.
    if (std::all_of(last, calls.end(), [&](std::uint64_t c) { return c == *last; })) continue;
    std::size_t equal = 0;  // calls from the end that equal the one a period earlier
    while (equal + period < calls.size() && calls[calls.size() - 1 - equal] == calls[calls.size() - 1 - equal - period])
      ++equal;
    most = std::max(most, static_cast<std::uint32_t>(1 + equal / period));
  }
  return most;
}

void LoopDetector::record(std::string_view run, std::uint64_t call, std::uint64_t now_ns) {
  std::deque<Call>& history = runs_.touch(run);
  history.push_back({call, now_ns});
  if (history.size() > options_.history) history.pop_front();
}

}  // namespace penstock::graph
