#include "userspace/api/glob.h"

#include <cstddef>

namespace penstock::api {
namespace {

bool same(char a, char b, Case letters) {
  if (letters == Case::kExact) return a == b;
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return lower(a) == lower(b);
}

}  // namespace

// Only the last `*` is ever taken back to: what an earlier one could match longer, the last one can as well.
bool glob_match(std::string_view pattern, std::string_view text, Case letters) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;  // behind the last `*`
  std::size_t star_text = 0;                  // where its match ends
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = ++p;
      star_text = t;
      continue;
    }
    if (p < pattern.size()) {
      const bool literal = pattern[p] == '\\' && p + 1 < pattern.size();
      const char c = literal ? pattern[p + 1] : pattern[p];
      if ((!literal && c == '?') || same(c, text[t], letters)) {
        p += literal ? 2 : 1;
        ++t;
        continue;
      }
    }
    if (star == std::string_view::npos) return false;
    p = star;
    t = ++star_text;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string glob_escape(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '*' || c == '?' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace penstock::api
