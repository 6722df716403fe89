#include "parsers/dialects/paths.h"

#include <algorithm>

namespace penstock::parsers::dialects {
namespace {

constexpr std::size_t kMaxSegments = 64;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

Segments::Segments(std::string_view path) {
  while (!path.empty() && parts_.size() < kMaxSegments) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    if (slash != 0) parts_.push_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
}

std::string_view Segments::tail(std::size_t i) const {
  return i < parts_.size() ? parts_[parts_.size() - 1 - i] : std::string_view{};
}

bool Segments::ends_with(std::initializer_list<std::string_view> names) const {
  return names.size() <= parts_.size() &&
         std::equal(names.begin(), names.end(), parts_.end() - static_cast<std::ptrdiff_t>(names.size()));
}

std::string_view Segments::after(std::string_view name) const {
  const auto at = std::find(parts_.begin(), parts_.end(), name);
  return at != parts_.end() && at + 1 != parts_.end() ? *(at + 1) : std::string_view{};
}

bool Segments::contains(std::string_view name) const {
  return std::find(parts_.begin(), parts_.end(), name) != parts_.end();
}

std::optional<std::string> query_parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    const std::size_t equals = pair.find('=');
    if (pair.substr(0, equals) != name) continue;
    return equals == std::string_view::npos ? std::string{} : percent_decode(pair.substr(equals + 1));
  }
  return std::nullopt;
}

ModelMethod model_method(std::string_view path) {
  const std::string_view last = Segments(path).tail(0);
  const std::size_t colon = last.rfind(':');
  if (colon == std::string_view::npos) return {};
  // Tuned models and publishers' names hold slashes in some clients, percent-encoded or not: the model is what stands
  // between "models/" (or "endpoints/", "tunedModels/") and the colon.
  std::size_t begin = std::string_view::npos;
  for (std::string_view collection : {"/models/", "/tunedModels/", "/endpoints/"}) {
    const std::size_t at = path.find(collection);
    if (at != std::string_view::npos) {
      begin = at + collection.size();
      break;
    }
  }
  const std::size_t end = path.rfind(':');
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin) return {};
  return {percent_decode(path.substr(begin, end - begin)), last.substr(colon + 1)};
}

}  // namespace penstock::parsers::dialects
