#include "userspace/discovery/proc_maps.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace penstock::discovery {
namespace {

constexpr std::string_view kDeleted = " (deleted)";

// Cuts the next field off; fields are separated by single spaces, the path by many.
std::string_view field(std::string_view& line) {
  const std::size_t begin = std::min(line.find_first_not_of(' '), line.size());
  const std::size_t end = std::min(line.find(' ', begin), line.size());
  const std::string_view out = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return out;
}

template <class T>
std::optional<T> number(std::string_view text, int base) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The kernel prints a newline in a path as \012; nothing else is escaped.
std::string unescape(std::string_view path) {
  std::string out;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path.substr(i, 4) == "\\012") {
      out += '\n';
      i += 3;
    } else {
      out += path[i];
    }
  }
  return out;
}

std::optional<CodeMapping> parse_line(std::string_view line) {
  const std::string_view range = field(line);
  const std::string_view permissions = field(line);
  if (permissions.size() < 3 || permissions[2] != 'x') return std::nullopt;
  field(line);  // offset
  field(line);  // device
  const auto inode = number<std::uint64_t>(field(line), 10);
  if (!inode || *inode == 0) return std::nullopt;
  const std::size_t dash = range.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto begin = number<std::uint64_t>(range.substr(0, dash), 16);
  const auto end = number<std::uint64_t>(range.substr(dash + 1), 16);
  if (!begin || !end) return std::nullopt;
  const std::size_t at = line.find_first_not_of(' ');
  if (at == std::string_view::npos) return std::nullopt;
  line.remove_prefix(at);
  CodeMapping m{*begin, *end, *inode, {}, line.ends_with(kDeleted)};
  if (m.deleted) line.remove_suffix(kDeleted.size());
  m.path = unescape(line);
  return m;
}

}  // namespace

std::vector<CodeMapping> parse_maps(std::string_view text, bool& truncated) {
  std::vector<CodeMapping> out;
  truncated = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (auto mapping = parse_line(text.substr(0, end))) {
      if (out.size() == kMaxCodeMappings) {
        truncated = true;
        break;
      }
      out.push_back(std::move(*mapping));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace penstock::discovery
