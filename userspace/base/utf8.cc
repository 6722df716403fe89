#include "userspace/base/utf8.h"

#include <algorithm>

namespace penstock::base {

std::size_t utf8_sequence(std::string_view text) {
  const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto tail = [&](std::size_t i) { return (at(i) & 0xc0u) == 0x80u; };
  if (text.empty()) return 0;
  const unsigned c = at(0);
  if (c < 0x80) return 1;
  if (c < 0xc2) return 0;
  if (c < 0xe0) return tail(1) ? 2 : 0;
  if (c < 0xf0) {
    if (!tail(1) || !tail(2)) return 0;
    return (c == 0xe0 && at(1) < 0xa0) || (c == 0xed && at(1) > 0x9f) ? 0 : 3;  // overlong, surrogates
  }
  if (c > 0xf4 || !tail(1) || !tail(2) || !tail(3)) return 0;
  return (c == 0xf0 && at(1) < 0x90) || (c == 0xf4 && at(1) > 0x8f) ? 0 : 4;  // overlong, beyond U+10FFFF
}

std::string printable_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text);
    const auto c = static_cast<unsigned char>(text.front());
    if (length == 0)
      out += "\xef\xbf\xbd";
    else if (c < 0x20 || c == 0x7f || (c == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0))
      out += ' ';  // C0, DEL, C1
    else
      out.append(text, 0, length);
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

std::size_t utf8_length(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string_view utf8_prefix(std::string_view text, std::size_t columns) {
  std::size_t i = 0;
  while (i < text.size()) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80 && columns-- == 0) break;
    ++i;
  }
  return text.substr(0, i);
}

}  // namespace penstock::base
