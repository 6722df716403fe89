// What the APIs put into the URL: models, operations, path suffixes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::parsers::dialects {

std::string percent_decode(std::string_view text);

// A path as segments, empty ones dropped: the clients of some gateways write "//" or a trailing "/". Views into `path`.
class Segments {
 public:
  explicit Segments(std::string_view path);
  // From the end: tail(0) is the last segment; empty when there is none.
  std::string_view tail(std::size_t i) const;
  // "chat", "completions": do the last segments read so?
  bool ends_with(std::initializer_list<std::string_view> names) const;
  // The segment after the first one that reads `name`; empty when there is none.
  std::string_view after(std::string_view name) const;
  bool contains(std::string_view name) const;
  std::size_t size() const { return parts_.size(); }

 private:
  std::vector<std::string_view> parts_;
};

std::optional<std::string> query_parameter(std::string_view query, std::string_view name);

// Of ".../models/NAME:OPERATION" (Google's custom methods): the model and the operation. Empty when not of that form.
struct ModelMethod {
  std::string model;
  std::string_view method;
};
ModelMethod model_method(std::string_view path);

}  // namespace penstock::parsers::dialects
