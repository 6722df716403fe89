// YAML text as bounded trees, one for each document: the step between yaml-cpp's events and the schema. Internal to
// api.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "userspace/api/yaml.h"

namespace penstock::api {

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  Position at;
  std::string scalar;
  bool plain = true;            // written without quotes: may be a number, true or false
  std::vector<YamlNode> items;  // list: its items; map: key, value, key, value, …
};

struct YamlTrees {
  std::vector<YamlNode> documents;  // without the empty ones
  std::vector<Diagnostic> diagnostics;
};

// At most one diagnostic: what stopped the reading. The documents before it are kept.
YamlTrees parse_trees(std::string_view text, const std::string& file, const YamlOptions& options);

}  // namespace penstock::api
