// Protobuf messages as JSON, one spelling for server, client and command line: snake_case names, 64-bit integers as
// numbers, absent when there is no value. Thread-safe.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

#include "userspace/base/result.h"

namespace penstock::api {

enum class JsonStyle { kCompact, kPretty };

void append_json_string(std::string& out, std::string_view text);  // quoted and escaped; invalid UTF-8 becomes U+FFFD
std::string to_json(const google::protobuf::Message& message, JsonStyle style = JsonStyle::kCompact);
// Strict: an unknown field or a wrong type is an Error (kUsage).
base::Result<> from_json(std::string_view json, google::protobuf::Message& message);
// Sets one scalar by name; dots reach into messages ("selector.agent"). Unknown name or unreadable value: kUsage.
base::Result<> set_field(google::protobuf::Message& message, std::string_view name, std::string_view value);

}  // namespace penstock::api
