#include "parsers/dialects/hosts.h"

#include <algorithm>

namespace penstock::parsers::dialects {

bool host_matches(std::string_view pattern, std::string_view host) {
  // Most patterns fail by their end already.
  if (!host.ends_with(pattern.substr(pattern.rfind('*') + 1))) return false;
  // Greedy matching with one point of return is linear in practice and quadratic at worst over two short names.
  std::size_t p = 0, h = 0, star = std::string_view::npos, mark = 0;
  while (h < host.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = h;
    } else if (p < pattern.size() && pattern[p] == host[h]) {
      ++p;
      ++h;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      h = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

Claim claim_by_host(std::span<const std::string_view> hosts, std::string_view host) {
  Claim best = Claim::kNone;
  for (std::string_view pattern : hosts) {
    if (pattern == host) return Claim::kHost;
    if (host_matches(pattern, host)) best = Claim::kPattern;
  }
  return best;
}

bool is_local(std::string_view host) {
  if (host == "localhost" || host.ends_with(".localhost")) return true;
  if (host.empty()) return false;
  if (host.find(':') != std::string_view::npos || host.front() == '[') return true;
  const bool digits_and_dots =
      std::all_of(host.begin(), host.end(), [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
  return digits_and_dots && std::count(host.begin(), host.end(), '.') == 3;
}

}  // namespace penstock::parsers::dialects
