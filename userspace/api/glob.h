// Globs of policies and selectors: `*` is any text (also none, also with slashes), `?` one byte, `\` takes the next
// character literally; everything else is itself. Matching needs no memory and at most |pattern| × |text| steps.
#pragma once

#include <string>
#include <string_view>

namespace penstock::api {

enum class Case { kExact, kIgnore };

bool glob_match(std::string_view pattern, std::string_view text, Case letters = Case::kExact);

// A pattern that matches exactly `text`.
std::string glob_escape(std::string_view text);

}  // namespace penstock::api
