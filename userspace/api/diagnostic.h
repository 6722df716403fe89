// What is wrong with a file, and where. Values; thread-safe as any value.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "userspace/base/result.h"

namespace penstock::api {

// Counted from 1; 0 when there is no such place (a policy made in code).
struct Position {
  int line = 0;
  int column = 0;
  bool operator==(const Position&) const = default;
};

enum class Severity { kError, kWarning };

struct Diagnostic {
  Severity severity = Severity::kError;
  std::string file;
  Position at;
  std::string message;  // one line, no trailing period
  std::string hint;     // what to do about it; may be empty

  // "file:line:column: message", "file: message" without a position; a warning says so. The hint is not part of it.
  std::string text() const;
};

// Text from a file, for a message: in backquotes, at most 40 characters, nothing that would upset a terminal.
std::string shown(std::string_view text);

bool has_errors(const std::vector<Diagnostic>& diagnostics);
// The first error as an Error with code kUsage, saying how many more there are. PN_BUG without any error.
base::Error to_error(const std::vector<Diagnostic>& diagnostics);

}  // namespace penstock::api
