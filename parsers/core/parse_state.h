// Outcomes of incremental parsing. Hostile or partial bytes are an outcome and a counter, never an exception and never
// a log line. Every parser consumes all bytes it is given; what it could not use it has counted.
#pragma once

#include <cstdint>

namespace penstock::parsers {

enum class ParseState : std::uint8_t {
  kNeedMore,  // valid so far
  kDone,      // one complete value; further bytes belong to the next one or to nobody
  kInvalid,   // not this format from here on; what was delivered before stays true
  kLimit,     // a bound of limits.h was reached; what was delivered before stays true
};

constexpr bool stopped(ParseState state) { return state == ParseState::kInvalid || state == ParseState::kLimit; }

}  // namespace penstock::parsers
