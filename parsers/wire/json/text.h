// The character level of JSON: finding the end of a string, escapes, number grammar and checked conversion.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "parsers/wire/scan.h"

namespace penstock::parsers::wire::json {

// First '"' or '\\' in [p, end), with `control` also the first byte below 0x20; `end` when there is none.
inline const char* find_special(const char* p, const char* end, bool control) {
  return control ? find_either<true>(p, end, '"', '\\') : find_either<false>(p, end, '"', '\\');
}

// Skips string content without delivering it.
struct Skipped {
  const char* next;       // the closing quote, an escape that needs more input or care, or `end`
  std::uint64_t decoded;  // bytes that the skipped text has once unescaped
};
Skipped skip_string(const char* p, const char* end);

inline int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The character that `\c` stands for; 0 when it is no escape of RFC 8259.
inline char unescape(char c) {
  switch (c) {
    case '"':
    case '\\':
    case '/':
      return c;
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return 0;
  }
}

// Writes 1 to 4 bytes to `out`, returns how many.
inline std::size_t encode_utf8(std::uint32_t code, char* out) {
  if (code < 0x80) {
    out[0] = static_cast<char>(code);
    return 1;
  }
  if (code < 0x800) {
    out[0] = static_cast<char>(0xc0 | (code >> 6));
    out[1] = static_cast<char>(0x80 | (code & 0x3f));
    return 2;
  }
  if (code < 0x10000) {
    out[0] = static_cast<char>(0xe0 | (code >> 12));
    out[1] = static_cast<char>(0x80 | ((code >> 6) & 0x3f));
    out[2] = static_cast<char>(0x80 | (code & 0x3f));
    return 3;
  }
  out[0] = static_cast<char>(0xf0 | (code >> 18));
  out[1] = static_cast<char>(0x80 | ((code >> 12) & 0x3f));
  out[2] = static_cast<char>(0x80 | ((code >> 6) & 0x3f));
  out[3] = static_cast<char>(0x80 | (code & 0x3f));
  return 4;
}

// number = [ "-" ] ( "0" / 1-9 *digit ) [ "." 1*digit ] [ e [ sign ] 1*digit ], fed a character at a time.
class NumberGrammar {
 public:
  void add(char c);
  bool valid() const { return at_ == At::kZero || at_ == At::kInteger || at_ == At::kFraction || at_ == At::kExponent; }

 private:
  enum class At : std::uint8_t { kStart, kMinus, kZero, kInteger, kDot, kFraction, kE, kSign, kExponent, kBad };
  At at_ = At::kStart;
};

// Checked conversions of a number's text. "3.0" and "30e-1" are the integer 3; a fraction, NaN, Infinity and whatever
// does not fit is nullopt, since a wrong count is worse than none.
std::optional<std::uint64_t> to_uint(std::string_view text);  // 0 … 2^63-1
std::optional<std::int64_t> to_int(std::string_view text);
std::optional<double> to_double(std::string_view text);  // finite only

}  // namespace penstock::parsers::wire::json
