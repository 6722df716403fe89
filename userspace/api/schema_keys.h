// The keys of a message type, as the reader, the writer and the reference page see them. Internal to api.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string>
#include <vector>

#include "userspace/api/schema.pb.h"

namespace penstock::api {

struct SchemaKey {
  std::string name;  // of a prefixed key: the prefix
  const google::protobuf::FieldDescriptor* field = nullptr;
  std::vector<const google::protobuf::FieldDescriptor*> through;  // inlined messages from the outer type to the field
  Key options;
  bool prefixed = false;
};

// In the order of the schema, inlined messages expanded.
std::vector<SchemaKey> schema_keys(const google::protobuf::Descriptor& type);

}  // namespace penstock::api
