#include "parsers/wire/http/message.h"

#include <algorithm>

namespace penstock::parsers::wire::http {
namespace {
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

void append_lower(std::string& to, std::string_view text) {
  const std::size_t at = to.size();
  to.append(text);
  std::transform(to.begin() + static_cast<std::ptrdiff_t>(at), to.end(), to.begin() + static_cast<std::ptrdiff_t>(at),
                 lower);
}
}  // namespace

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

void Fields::add(std::string_view name, std::string_view value) {
  Entry entry{};
  entry.name_at = static_cast<std::uint32_t>(text_.size());
  entry.name_size = static_cast<std::uint32_t>(name.size());
  append_lower(text_, name);
  entry.value_at = static_cast<std::uint32_t>(text_.size());
  entry.value_size = static_cast<std::uint32_t>(value.size());
  text_.append(value);
  entries_.push_back(entry);
}

void Fields::extend_last(std::string_view more) {
  if (entries_.empty()) return;
  // The last value is the end of the text.
  if (entries_.back().value_size != 0 && !more.empty()) text_.push_back(' ');
  text_.append(more);
  entries_.back().value_size = static_cast<std::uint32_t>(text_.size()) - entries_.back().value_at;
}

void Fields::clear() {
  text_.clear();
  entries_.clear();
}

Fields::Field Fields::operator[](std::size_t i) const {
  const Entry& entry = entries_[i];
  const std::string_view text = text_;
  return {text.substr(entry.name_at, entry.name_size), text.substr(entry.value_at, entry.value_size)};
}

std::optional<std::string_view> Fields::find(std::string_view name) const {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Field field = (*this)[i];
    if (field.name == name) return field.value;
  }
  return std::nullopt;
}

bool Fields::has_token(std::string_view name, std::string_view token) const {
  bool found = false;
  each_element(name, [&](std::string_view element) { found |= equals_ignoring_case(element, token); });
  return found;
}

std::string media_type(std::string_view content_type) {
  const std::string_view type = trim(content_type.substr(0, content_type.find(';')));
  std::string out;
  append_lower(out, type);
  return out;
}

std::optional<std::string> parameter(std::string_view value, std::string_view name) {
  std::size_t at = value.find(';');
  while (at != std::string_view::npos && at < value.size()) {
    ++at;
    const std::size_t equals = value.find_first_of("=;", at);
    if (equals == std::string_view::npos) break;
    if (value[equals] == ';') {
      at = equals;
      continue;
    }
    const bool wanted = equals_ignoring_case(trim(value.substr(at, equals - at)), name);
    std::string content;
    at = equals + 1;
    while (at < value.size() && (value[at] == ' ' || value[at] == '\t')) ++at;
    if (at < value.size() && value[at] == '"') {
      for (++at; at < value.size() && value[at] != '"'; ++at) {
        if (value[at] == '\\' && at + 1 < value.size()) ++at;
        content.push_back(value[at]);
      }
      at = value.find(';', at);
    } else {
      const std::size_t end = value.find(';', at);
      content = trim(value.substr(at, end == std::string_view::npos ? end : end - at));
      at = end;
    }
    if (wanted) return content;
  }
  return std::nullopt;
}

std::string_view RequestHead::path() const {
  std::string_view text = target;
  const std::size_t scheme = text.find("://");
  if (!text.starts_with('/') && scheme != std::string_view::npos) {
    const std::size_t slash = text.find('/', scheme + 3);
    if (slash == std::string_view::npos) return "/";
    text.remove_prefix(slash);
  }
  return text.substr(0, text.find_first_of("?#"));
}

std::string_view RequestHead::query() const {
  const std::string_view text = target;
  const std::size_t mark = text.find('?');
  return mark == std::string_view::npos ? std::string_view() : text.substr(mark + 1);
}

}  // namespace penstock::parsers::wire::http
