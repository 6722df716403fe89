// Finding bytes at memory speed. SSE2 is part of x86-64; what is worth more has its own dispatch (json/text.cc).
#pragma once

#include <emmintrin.h>

namespace penstock::parsers::wire {

// First `a` or `b` in [p, end), with kControl also the first byte below 0x20; `end` when there is none.
template <bool kControl = false>
inline const char* find_either(const char* p, const char* end, char a, char b) {
  const __m128i first = _mm_set1_epi8(a);
  const __m128i second = _mm_set1_epi8(b);
  const __m128i low = _mm_set1_epi8(0x1f);
  for (; end - p >= 16; p += 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(block, first), _mm_cmpeq_epi8(block, second));
    if constexpr (kControl) hit = _mm_or_si128(hit, _mm_cmpeq_epi8(_mm_min_epu8(block, low), block));
    const auto mask = static_cast<unsigned>(_mm_movemask_epi8(hit));
    if (mask != 0) return p + __builtin_ctz(mask);
  }
  for (; p != end; ++p) {
    if (*p == a || *p == b || (kControl && static_cast<unsigned char>(*p) < 0x20)) return p;
  }
  return end;
}

}  // namespace penstock::parsers::wire
