// Strict YAML to protobuf, and back. The schema is the message type with the options of schema.proto.
//
// Everything not understood is an error with its place: an unknown or repeated key, a wrong type, a value out of range,
// a missing required key. Anchors, aliases, tags and merge keys are refused, so a document is never larger than its
// text; size, depth and number of nodes are bounded. Hostile bytes yield diagnostics, never a crash and never an
// exception. Pure functions; thread-safe.
#pragma once

#include <google/protobuf/message.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/api/diagnostic.h"

namespace penstock::api {

struct YamlOptions {
  std::size_t max_bytes = 1 << 20;
  std::size_t max_nodes = 100'000;  // scalars, lists and maps of the whole text
  std::size_t max_depth = 16;
  std::size_t max_documents = 1024;
  std::size_t max_diagnostics = 50;  // then reading stops
  bool kind_required = false;        // `kind: <message name>` must be in every document; where present it must be right
};

struct YamlDocument {
  std::unique_ptr<google::protobuf::Message> message;  // of the prototype's type
  std::string file;
  Position at;
  // Where each value was written: "budgets[0].window" -> its place. Keys as in the file.
  std::map<std::string, Position, std::less<>> positions;
  // Place of `path`, or of the nearest of its parents that has one.
  Position find(std::string_view path) const;
};

struct YamlFile {
  std::vector<YamlDocument> documents;
  std::vector<Diagnostic> diagnostics;
};

// `file` is only used in diagnostics. Documents with errors are in the result as far as they were understood: use them
// only when has_errors(diagnostics) is false. Empty documents are skipped.
YamlFile read_yaml(std::string_view text, const std::string& file, const google::protobuf::Message& prototype,
                   const YamlOptions& options = {});

// The whole file, or an Error (kUsage) when it cannot be read or is larger than `max_bytes`.
base::Result<std::string> read_text_file(const std::string& path, std::size_t max_bytes = YamlOptions{}.max_bytes);

// The message as one YAML document that read_yaml turns into an equal message; keys without a value are left out.
// With `kind`, `kind: <message name>` comes first.
std::string write_yaml(const google::protobuf::Message& message, bool kind);

// Reference of a message type as Markdown tables, one for each nested group of keys (for docs/*.md).
std::string schema_markdown(const google::protobuf::Descriptor& type);

// The outside spelling of an enum value: MODE_OBSERVE of Mode -> "observe", ON_FAILURE_HOLD_LAST -> "hold-last";
// the zero value (…_UNSPECIFIED) has none.
std::string enum_spelling(const google::protobuf::EnumValueDescriptor& value);

}  // namespace penstock::api
