// UTF-8 (RFC 3629), for text that comes from outside and leaves in formats that allow nothing else. Thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace penstock::base {

// Bytes of the well-formed sequence at the start of `text`; 0 when there is none.
std::size_t utf8_sequence(std::string_view text);
// `text` with each bad byte replaced by U+FFFD and each control character by a space.
std::string printable_utf8(std::string_view text);
// Columns on a terminal, taking each code point for one.
std::size_t utf8_length(std::string_view text);
// At most `columns` code points, cut at a code point.
std::string_view utf8_prefix(std::string_view text, std::size_t columns);

}  // namespace penstock::base
