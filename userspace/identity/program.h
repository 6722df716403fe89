// What a process runs, by its executable and arguments: the stable part of both. `python3 -u /srv/bots/mail.py --fast`
// is the program "python3" and the script "mail.py". Pure; arguments are chosen by the process: they are cut, and
// control characters in them are replaced.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace penstock::identity {

struct Program {
  std::string name;    // "python3", "node", "claude"
  std::string script;  // script, module or package run by an interpreter or launcher; empty otherwise
  bool operator==(const Program&) const = default;
};

inline constexpr std::size_t kMaxNameBytes = 96;

// `argv` may be empty (kernel threads, processes that are gone).
Program describe_program(std::string_view exe, std::span<const std::string> argv);

// "name" or "name:script".
std::string to_string(const Program&);

// A shell somebody types into: no script and no command.
bool is_interactive_shell(std::string_view exe, std::span<const std::string> argv);
// Where a tree of work begins on a machine: service managers, logins, terminals, container shims, schedulers.
bool is_session_boundary(std::string_view exe, std::string_view comm);

}  // namespace penstock::identity
