#include "parsers/wire/json/text.h"

#include <immintrin.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

namespace penstock::parsers::wire::json {
namespace {

// Bit masks of the quotes and backslashes in 64 bytes.
inline std::uint64_t special_sse2(const char* p) {
  const __m128i quote = _mm_set1_epi8('"');
  const __m128i backslash = _mm_set1_epi8('\\');
  std::uint64_t mask = 0;
  for (int i = 0; i < 4; ++i) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * i));
    const __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(block, quote), _mm_cmpeq_epi8(block, backslash));
    mask |= static_cast<std::uint64_t>(static_cast<unsigned>(_mm_movemask_epi8(hit))) << (16 * i);
  }
  return mask;
}
__attribute__((target("avx2,bmi"))) inline std::uint64_t special_avx2(const char* p) {
  const __m256i quote = _mm256_set1_epi8('"');
  const __m256i backslash = _mm256_set1_epi8('\\');
  const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32));
  const __m256i hit_a = _mm256_or_si256(_mm256_cmpeq_epi8(a, quote), _mm256_cmpeq_epi8(a, backslash));
  const __m256i hit_b = _mm256_or_si256(_mm256_cmpeq_epi8(b, quote), _mm256_cmpeq_epi8(b, backslash));
  return static_cast<std::uint64_t>(static_cast<unsigned>(_mm256_movemask_epi8(hit_a))) |
         static_cast<std::uint64_t>(static_cast<unsigned>(_mm256_movemask_epi8(hit_b))) << 32;
}

// Length of `\uXXXX` at p once decoded, a surrogate pair being one; 0: incomplete or malformed, left to the slow path.
struct Escape {
  unsigned raw;
  unsigned decoded;
};
inline int hex4(const char* p) {
  const int a = hex_digit(p[0]), b = hex_digit(p[1]), c = hex_digit(p[2]), d = hex_digit(p[3]);
  return (a | b | c | d) < 0 ? -1 : (a << 12) | (b << 8) | (c << 4) | d;
}
inline Escape unicode_escape(const char* p, const char* end) {
  if (end - p < 6) return {0, 0};
  const int code = hex4(p + 2);
  if (code < 0) return {0, 0};
  if (code < 0x80) return {6, 1};
  if (code < 0x800) return {6, 2};
  if (code < 0xd800 || code > 0xdbff) return {6, 3};
  if (end - p < 12) return {0, 0};
  if (p[6] != '\\' || p[7] != 'u') return {6, 3};
  const int low = hex4(p + 8);
  if (low < 0) return {0, 0};
  if (low < 0xdc00 || low > 0xdfff) return {6, 3};
  return {12, 4};
}

#define PN_SKIP_TARGET
#define PN_SKIP_NAME skip_sse2
#define PN_SKIP_SPECIAL special_sse2
#include "parsers/wire/json/text_skip.inc"

#define PN_SKIP_TARGET __attribute__((target("avx2,bmi")))
#define PN_SKIP_NAME skip_avx2
#define PN_SKIP_SPECIAL special_avx2
#include "parsers/wire/json/text_skip.inc"

using SkipFunction = Skipped (*)(const char*, const char*);
const SkipFunction kSkip = __builtin_cpu_supports("avx2") ? skip_avx2 : skip_sse2;

bool digit(char c) { return c >= '0' && c <= '9'; }

// Sign, digits without leading zeros, and decimal exponent of a number that is an integer.
struct Integer {
  bool negative = false;
  std::uint64_t magnitude = 0;
};

std::optional<Integer> integer(std::string_view text) {
  NumberGrammar grammar;
  for (const char c : text) grammar.add(c);
  if (!grammar.valid()) return std::nullopt;
  Integer out;
  std::size_t i = 0;
  if (text[0] == '-') {
    out.negative = true;
    ++i;
  }
  // All digits as one decimal, `point` digits of which stand before the decimal point.
  std::string digits;
  std::int64_t point = 0;
  for (; i < text.size() && digit(text[i]); ++i) digits.push_back(text[i]);
  point = static_cast<std::int64_t>(digits.size());
  if (i < text.size() && text[i] == '.') {
    for (++i; i < text.size() && digit(text[i]); ++i) digits.push_back(text[i]);
  }
  if (i < text.size()) {  // exponent
    ++i;
    const bool negative = text[i] == '-';
    if (text[i] == '-' || text[i] == '+') ++i;
    std::int64_t exponent = 0;
    for (; i < text.size(); ++i) {
      exponent = exponent * 10 + (text[i] - '0');
      if (exponent > 10000) exponent = 10000;
    }
    point += negative ? -exponent : exponent;
  }
  std::int64_t index = 0;
  for (const char c : digits) {
    if (index++ < point) {
      if (out.magnitude > (std::numeric_limits<std::uint64_t>::max() - 9) / 10) return std::nullopt;
      out.magnitude = out.magnitude * 10 + static_cast<std::uint64_t>(c - '0');
    } else if (c != '0') {
      return std::nullopt;  // a fraction
    }
  }
  for (; index < point && out.magnitude != 0; ++index) {
    if (out.magnitude > (std::numeric_limits<std::uint64_t>::max() - 9) / 10) return std::nullopt;
    out.magnitude *= 10;
  }
  return out;
}

constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

}  // namespace

Skipped skip_string(const char* p, const char* end) { return kSkip(p, end); }

void NumberGrammar::add(char c) {
  const bool e = c == 'e' || c == 'E';
  switch (at_) {
    case At::kStart:
      at_ = c == '-' ? At::kMinus : c == '0' ? At::kZero : digit(c) ? At::kInteger : At::kBad;
      return;
    case At::kMinus:
      at_ = c == '0' ? At::kZero : digit(c) ? At::kInteger : At::kBad;
      return;
    case At::kZero:
      at_ = c == '.' ? At::kDot : e ? At::kE : At::kBad;
      return;
    case At::kInteger:
      at_ = digit(c) ? At::kInteger : c == '.' ? At::kDot : e ? At::kE : At::kBad;
      return;
    case At::kDot:
      at_ = digit(c) ? At::kFraction : At::kBad;
      return;
    case At::kFraction:
      at_ = digit(c) ? At::kFraction : e ? At::kE : At::kBad;
      return;
    case At::kE:
      at_ = digit(c) ? At::kExponent : (c == '+' || c == '-') ? At::kSign : At::kBad;
      return;
    case At::kSign:
    case At::kExponent:
      at_ = digit(c) ? At::kExponent : At::kBad;
      return;
    case At::kBad:
      return;
  }
}

std::optional<std::uint64_t> to_uint(std::string_view text) {
  // The usual number has a few digits and nothing else.
  if (!text.empty() && text.size() <= 18 && (text[0] != '0' || text.size() == 1)) {
    std::uint64_t n = 0;
    std::size_t i = 0;
    for (; i < text.size() && digit(text[i]); ++i) n = n * 10 + static_cast<std::uint64_t>(text[i] - '0');
    if (i == text.size()) return n;
  }
  const std::optional<Integer> value = integer(text);
  if (!value || value->magnitude > kMax || (value->negative && value->magnitude != 0)) return std::nullopt;
  return value->magnitude;
}

std::optional<std::int64_t> to_int(std::string_view text) {
  const std::optional<Integer> value = integer(text);
  if (!value || value->magnitude > kMax) return std::nullopt;
  const auto n = static_cast<std::int64_t>(value->magnitude);
  return value->negative ? -n : n;
}

std::optional<double> to_double(std::string_view text) {
  NumberGrammar grammar;
  for (const char c : text) grammar.add(c);
  if (!grammar.valid()) return std::nullopt;
  const double value = std::strtod(std::string(text).c_str(), nullptr);
  if (!std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace penstock::parsers::wire::json
