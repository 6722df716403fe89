// JSON as YAML, for `-o yaml`: the same values in blocks. Numbers keep their digits, so 64-bit integers stay exact.
#pragma once

#include <string>
#include <string_view>

namespace penstock::api {

// `json` is one document as to_json() writes it.
std::string yaml_of_json(std::string_view json);

}  // namespace penstock::api
