// The reference page of a schema: from the options, so that it cannot say anything else than the reader does.
#include <map>
#include <string>
#include <vector>

#include "userspace/api/schema_keys.h"
#include "userspace/api/spelling.h"
#include "userspace/api/yaml.h"

namespace penstock::api {

namespace pb = google::protobuf;

namespace {

bool is_group(const SchemaKey& k) {
  return k.field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE && k.options.spelling() == SPELLING_PLAIN &&
         !k.field->is_map() && !k.prefixed;
}

std::string value_form(const SchemaKey& k) {
  const pb::FieldDescriptor& f = *k.field;
  std::string form;
  if (k.options.spelling() != SPELLING_PLAIN) {
    form = expectation(k.options.spelling());
  } else if (k.prefixed) {
    form = "glob";
  } else if (f.is_map()) {
    return "map";
  } else if (is_group(k)) {
    form = f.is_repeated() ? "list of maps" : "map";
    return form;
  } else if (f.cpp_type() == pb::FieldDescriptor::CPPTYPE_ENUM) {
    for (int i = 0; i < f.enum_type()->value_count(); ++i) {
      const std::string name = enum_spelling(*f.enum_type()->value(i));
      if (!name.empty()) form += (form.empty() ? "`" : " \\| `") + name + "`";
    }
  } else if (f.cpp_type() == pb::FieldDescriptor::CPPTYPE_BOOL) {
    form = "`true` \\| `false`";
  } else if (f.cpp_type() == pb::FieldDescriptor::CPPTYPE_STRING) {
    form = "text";
  } else {
    form = "whole number";
  }
  return f.is_repeated() ? form + ", or a list" : form;
}

using Titles = std::map<const pb::Descriptor*, std::string>;  // of the groups that have a table

void table(const pb::Descriptor& type, const std::string& title, Titles& done, std::string& out) {
  if (!done.emplace(&type, title).second) return;
  const std::vector<SchemaKey> keys = schema_keys(type);
  if (!title.empty()) out += "### `" + title + "`\n\n";
  out += "| key | value | meaning | when absent |\n|---|---|---|---|\n";
  std::string shared;  // groups of keys that stand here too and have a table of their own
  for (const SchemaKey& k : keys) {
    if (const auto group = done.find(k.field->containing_type()); group != done.end() && group->first != &type) {
      const std::string link = "`" + group->second + "`";
      if (shared.find(link) == std::string::npos) shared += (shared.empty() ? "" : " and ") + link;
      continue;
    }
    const std::string name = k.prefixed ? k.name + "NAME" : k.name;
    const std::string absent = k.options.required()          ? "*required*"
                               : k.options.initial().empty() ? "–"
                                                             : k.options.initial();
    out += "| `" + name + "` | " + value_form(k) + " | " + k.options.doc() + " | " + absent + " |\n";
  }
  if (!shared.empty()) out += "| … | | all keys of " + shared + " | |\n";
  out += "\n";
  for (const SchemaKey& k : keys)
    if (is_group(k)) table(*k.field->message_type(), k.name, done, out);
}

}  // namespace

std::string schema_markdown(const pb::Descriptor& type) {
  std::string out;
  Titles done;
  table(type, "", done, out);
  return out;
}

}  // namespace penstock::api
