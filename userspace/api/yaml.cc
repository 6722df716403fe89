#include "userspace/api/yaml.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <cerrno>
#include <limits>
#include <optional>
#include <set>

#include "userspace/api/nearest.h"
#include "userspace/api/schema_keys.h"
#include "userspace/api/spelling.h"
#include "userspace/api/yaml_tree.h"
#include "userspace/base/atomic_file.h"
#include "userspace/base/utf8.h"
#include "userspace/model/money.h"

namespace penstock::api {

namespace pb = google::protobuf;

std::vector<SchemaKey> schema_keys(const pb::Descriptor& type) {
  std::vector<SchemaKey> keys;
  for (int i = 0; i < type.field_count(); ++i) {
    const pb::FieldDescriptor* field = type.field(i);
    Key options = field->options().GetExtension(key);
    if (options.inlined()) {
      for (SchemaKey& inner : schema_keys(*field->message_type())) {
        inner.through.insert(inner.through.begin(), field);
        keys.push_back(std::move(inner));
      }
      continue;
    }
    const bool prefixed = !options.prefix().empty();
    std::string name = prefixed ? options.prefix() : !options.name().empty() ? options.name() : field->name();
    keys.push_back({std::move(name), field, {}, std::move(options), prefixed});
  }
  return keys;
}

std::string enum_spelling(const pb::EnumValueDescriptor& value) {
  if (value.number() == 0) return {};
  if (const std::string& spelling = value.options().GetExtension(spelled); !spelling.empty()) return spelling;
  // ON_FAILURE_UNSPECIFIED names the prefix of all values of the enum.
  constexpr std::string_view kZero = "UNSPECIFIED";
  const std::string& zero = value.type()->FindValueByNumber(0)->name();
  std::string_view text = value.name();
  text.remove_prefix(zero.size() - kZero.size());
  std::string out;
  for (char c : text) out += c == '_' ? '-' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

Position YamlDocument::find(std::string_view path) const {
  while (true) {
    if (auto it = positions.find(path); it != positions.end()) return it->second;
    const std::size_t cut = path.find_last_of(".[");
    if (cut == std::string_view::npos) return at;
    path = path.substr(0, cut);
  }
}

std::string Diagnostic::text() const {
  std::string out = file;
  if (at.line > 0) out += fmt::format(":{}:{}", at.line, at.column);
  if (!out.empty()) out += ": ";
  if (severity == Severity::kWarning) out += "warning: ";
  return out + message;
}

std::string shown(std::string_view text) {
  const std::string_view start = base::utf8_prefix(text, 40);
  return fmt::format("`{}{}`", base::printable_utf8(start), start.size() < text.size() ? "…" : "");
}

bool has_errors(const std::vector<Diagnostic>& diagnostics) {
  for (const Diagnostic& d : diagnostics)
    if (d.severity == Severity::kError) return true;
  return false;
}

base::Error to_error(const std::vector<Diagnostic>& diagnostics) {
  const Diagnostic* first = nullptr;
  std::size_t errors = 0;
  for (const Diagnostic& d : diagnostics) {
    if (d.severity != Severity::kError) continue;
    if (first == nullptr) first = &d;
    ++errors;
  }
  if (first == nullptr) PN_BUG("to_error without an error");
  std::string what = first->text();
  if (errors > 1) what += fmt::format(" (and {} more)", errors - 1);
  return {base::ErrorCode::kUsage, 0, std::move(what), first->hint};
}

namespace {

using Kind = YamlNode::Kind;

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return "a single value";
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a map of keys";
  }
  return "";
}

std::optional<std::uint64_t> whole_number(std::string_view text) {
  return text.find_first_not_of("0123456789") == std::string_view::npos ? parse_bytes(text) : std::nullopt;
}

class Reader {
 public:
  Reader(const std::string& file, const YamlOptions& options, YamlFile& out)
      : file_(file), options_(options), out_(out) {}

  bool full() const { return out_.diagnostics.size() >= options_.max_diagnostics; }

  void document(const YamlNode& root, const pb::Message& prototype) {
    YamlDocument document;
    document.message.reset(prototype.New());
    document.file = file_;
    document.at = root.at;
    document_ = &document;
    if (root.kind != Kind::kMap) {
      error(root.at, fmt::format("expected a map of keys, found {}", kind_name(root.kind)), "");
    } else {
      map(root, *document.message, "", /*top=*/true);
    }
    document_ = nullptr;
    out_.documents.push_back(std::move(document));
  }

 private:
  void error(Position at, std::string message, std::string hint) {
    if (!full()) out_.diagnostics.push_back({Severity::kError, file_, at, std::move(message), std::move(hint)});
  }

  void map(const YamlNode& node, pb::Message& message, const std::string& path, bool top) {
    const std::vector<SchemaKey> keys = schema_keys(*message.GetDescriptor());
    std::set<std::string_view> seen;
    for (std::size_t i = 0; i + 1 < node.items.size() && !full(); i += 2) {
      const YamlNode& name = node.items[i];
      const YamlNode& value = node.items[i + 1];
      if (name.kind != Kind::kScalar) {
        error(name.at, "a key must be a single word", "");
        continue;
      }
      if (!seen.insert(name.scalar).second) {
        error(name.at, fmt::format("key {} is given twice", shown(name.scalar)), "remove one of them");
        continue;
      }
      if (top && name.scalar == "kind") {
        check_kind(value, message);
        continue;
      }
      const SchemaKey* found = nullptr;
      for (const SchemaKey& k : keys)
        if (k.prefixed ? name.scalar.starts_with(k.name) && name.scalar.size() > k.name.size() : name.scalar == k.name)
          found = &k;
      if (found == nullptr) {
        std::vector<std::string> names;
        for (const SchemaKey& k : keys) names.push_back(k.prefixed ? k.name + "NAME" : k.name);
        error(name.at, fmt::format("unknown key {}", shown(name.scalar)), nearest_hint(name.scalar, names, "keys"));
        continue;
      }
      pb::Message* target = &message;
      for (const pb::FieldDescriptor* step : found->through)
        target = target->GetReflection()->MutableMessage(target, step);
      const std::string value_path = path.empty() ? name.scalar : path + "." + name.scalar;
      document_->positions.emplace(value_path, value.at);
      field(*found, name, value, *target, value_path);
    }
    for (const SchemaKey& k : keys)
      if (k.options.required() && !seen.contains(k.name))
        error(node.at, fmt::format("key `{}` is missing", k.name), k.options.doc());
    if (top && options_.kind_required && !seen.contains("kind"))
      error(node.at, "key `kind` is missing",
            fmt::format("begin the document with `kind: {}`", message.GetDescriptor()->name()));
  }

  void check_kind(const YamlNode& value, const pb::Message& message) {
    const std::string& expected = message.GetDescriptor()->name();
    if (value.kind == Kind::kScalar && value.scalar == expected) return;
    error(value.at,
          value.kind == Kind::kScalar ? fmt::format("unknown kind {}", shown(value.scalar)) : "`kind` must be a word",
          fmt::format("this file holds `kind: {}` documents", expected));
  }

  void field(const SchemaKey& k, const YamlNode& name, const YamlNode& value, pb::Message& message,
             const std::string& path) {
    const pb::FieldDescriptor& f = *k.field;
    const pb::Reflection& reflection = *message.GetReflection();
    if (value.kind == Kind::kNull) {
      error(name.at, fmt::format("key `{}` has no value", name.scalar), k.options.doc());
      return;
    }
    if (k.prefixed) {
      pb::Message* labelled = reflection.AddMessage(&message, &f);
      const pb::Descriptor& type = *f.message_type();
      labelled->GetReflection()->SetString(labelled, type.FindFieldByName("label"), name.scalar.substr(k.name.size()));
      list(k, *type.FindFieldByName("values"), value, *labelled, path);
    } else if (f.is_map()) {
      string_map(f, value, message, path);
    } else if (f.is_repeated()) {
      list(k, f, value, message, path);
    } else if (f.cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE && k.options.spelling() == SPELLING_PLAIN) {
      if (value.kind != Kind::kMap) return expected(value, "a map of keys");
      map(value, *reflection.MutableMessage(&message, &f), path, false);
    } else {
      scalar(k, f, value, message);
    }
  }

  void expected(const YamlNode& value, std::string_view what) {
    error(value.at,
          fmt::format("expected {}, found {}", what,
                      value.kind == Kind::kScalar ? shown(value.scalar) : std::string(kind_name(value.kind))),
          "");
  }

  // `key: x` is short for `key: [x]`, except for lists of maps.
  void list(const SchemaKey& k, const pb::FieldDescriptor& f, const YamlNode& value, pb::Message& message,
            const std::string& path) {
    const bool messages = f.cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE;
    if (value.kind == Kind::kScalar && !messages) return scalar(k, f, value, message);
    if (value.kind != Kind::kList) return expected(value, "a list");
    for (std::size_t i = 0; i < value.items.size() && !full(); ++i) {
      const YamlNode& item = value.items[i];
      const std::string item_path = fmt::format("{}[{}]", path, i);
      document_->positions.emplace(item_path, item.at);
      if (!messages) {
        scalar(k, f, item, message);
      } else if (item.kind != Kind::kMap) {
        expected(item, "a map of keys");
      } else {
        map(item, *message.GetReflection()->AddMessage(&message, &f), item_path, false);
      }
    }
  }

  void string_map(const pb::FieldDescriptor& f, const YamlNode& value, pb::Message& message, const std::string& path) {
    if (value.kind != Kind::kMap) return expected(value, "a map of keys");
    std::set<std::string_view> seen;
    for (std::size_t i = 0; i + 1 < value.items.size() && !full(); i += 2) {
      const YamlNode& name = value.items[i];
      const YamlNode& item = value.items[i + 1];
      if (name.kind != Kind::kScalar || name.scalar.empty()) {
        error(name.at, "a key must be a single word", "");
      } else if (!seen.insert(name.scalar).second) {
        error(name.at, fmt::format("key {} is given twice", shown(name.scalar)), "remove one of them");
      } else if (item.kind != Kind::kScalar) {
        expected(item, "a word");
      } else {
        pb::Message* entry = message.GetReflection()->AddMessage(&message, &f);
        entry->GetReflection()->SetString(entry, f.message_type()->map_key(), name.scalar);
        entry->GetReflection()->SetString(entry, f.message_type()->map_value(), item.scalar);
        document_->positions.emplace(path + "." + name.scalar, name.at);
      }
    }
  }

  void scalar(const SchemaKey& k, const pb::FieldDescriptor& f, const YamlNode& value, pb::Message& message) {
    if (value.kind != Kind::kScalar) {
      return expected(value,
                      k.options.spelling() == SPELLING_PLAIN ? "a single value" : expectation(k.options.spelling()));
    }
    if (k.options.spelling() != SPELLING_PLAIN) return spelled_value(k, f, value, message);
    const std::string& text = value.scalar;
    switch (f.cpp_type()) {
      case pb::FieldDescriptor::CPPTYPE_STRING:
        if (text.empty() && !k.options.required() && !f.is_repeated()) return set_string(f, "", message);
        if (text.empty()) return error(value.at, "must not be empty", k.options.doc());
        return set_string(f, text, message);
      case pb::FieldDescriptor::CPPTYPE_BOOL:
        if (!value.plain || (text != "true" && text != "false")) return expected(value, "true or false");
        return message.GetReflection()->SetBool(&message, &f, text == "true");
      case pb::FieldDescriptor::CPPTYPE_UINT32:
      case pb::FieldDescriptor::CPPTYPE_UINT64: {
        const auto number = value.plain ? whole_number(text) : std::nullopt;
        if (!number) return expected(value, "a whole number");
        return set_unsigned(f, *number, value, message);
      }
      case pb::FieldDescriptor::CPPTYPE_ENUM:
        return enum_value(f, value, message);
      default:
        PN_BUG("schema: no plain spelling for the type of " + f.full_name());
    }
  }

  static void set_string(const pb::FieldDescriptor& f, const std::string& text, pb::Message& message) {
    if (f.is_repeated()) {
      message.GetReflection()->AddString(&message, &f, text);
    } else {
      message.GetReflection()->SetString(&message, &f, text);
    }
  }

  void set_unsigned(const pb::FieldDescriptor& f, std::uint64_t number, const YamlNode& value, pb::Message& message) {
    if (f.cpp_type() == pb::FieldDescriptor::CPPTYPE_UINT64)
      return message.GetReflection()->SetUInt64(&message, &f, number);
    if (number > std::numeric_limits<std::uint32_t>::max())
      return error(value.at, fmt::format("{} is too large", shown(value.scalar)), "");
    const auto narrow = static_cast<std::uint32_t>(number);
    if (f.is_repeated()) return message.GetReflection()->AddUInt32(&message, &f, narrow);
    message.GetReflection()->SetUInt32(&message, &f, narrow);
  }

  void enum_value(const pb::FieldDescriptor& f, const YamlNode& value, pb::Message& message) {
    std::vector<std::string> names;
    for (int i = 0; i < f.enum_type()->value_count(); ++i) {
      const pb::EnumValueDescriptor* candidate = f.enum_type()->value(i);
      std::string name = enum_spelling(*candidate);
      if (name.empty()) continue;
      if (name == value.scalar) {
        if (f.is_repeated()) return message.GetReflection()->AddEnum(&message, &f, candidate);
        return message.GetReflection()->SetEnum(&message, &f, candidate);
      }
      names.push_back(std::move(name));
    }
    error(value.at, fmt::format("unknown value {}", shown(value.scalar)), nearest_hint(value.scalar, names, "values"));
  }

  void spelled_value(const SchemaKey& k, const pb::FieldDescriptor& f, const YamlNode& value, pb::Message& message) {
    const pb::Reflection& reflection = *message.GetReflection();
    const std::string& text = value.scalar;
    std::optional<std::uint64_t> number;
    switch (k.options.spelling()) {
      case SPELLING_USD:
        if (auto amount = model::parse_usd(text)) return reflection.SetInt64(&message, &f, amount->value);
        break;
      case SPELLING_COUNT:
        number = parse_count(text);
        break;
      case SPELLING_DURATION:
        number = parse_duration_ns(text);
        break;
      case SPELLING_PERCENT:
        number = parse_permille(text);
        break;
      case SPELLING_BYTES:
        number = parse_bytes(text);
        break;
      case SPELLING_WINDOW:
        if (auto window = parse_window(text)) return reflection.MutableMessage(&message, &f)->CopyFrom(*window);
        break;
      case SPELLING_RATE:
        if (auto rate = parse_rate(text)) return reflection.MutableMessage(&message, &f)->CopyFrom(*rate);
        break;
      default:
        PN_BUG("schema: unknown spelling of " + f.full_name());
    }
    if (!number) return expected(value, expectation(k.options.spelling()));
    set_unsigned(f, *number, value, message);
  }

  const std::string& file_;
  const YamlOptions& options_;
  YamlFile& out_;
  YamlDocument* document_ = nullptr;
};

}  // namespace

YamlFile read_yaml(std::string_view text, const std::string& file, const pb::Message& prototype,
                   const YamlOptions& options) {
  YamlFile out;
  YamlTrees trees = parse_trees(text, file, options);
  Reader reader(file, options, out);
  for (const YamlNode& root : trees.documents) {
    if (reader.full()) break;
    reader.document(root, prototype);
  }
  for (Diagnostic& d : trees.diagnostics) out.diagnostics.push_back(std::move(d));
  return out;
}

base::Result<std::string> read_text_file(const std::string& path, std::size_t max_bytes) {
  auto text = base::read_small_file(path, max_bytes);
  if (text) return text;
  const int err = text.error().errno_;
  if (err == EFBIG)
    return base::Error{base::ErrorCode::kUsage, 0, fmt::format("{}: larger than {} bytes", path, max_bytes),
                       "split it into several files"};
  return base::Error{base::ErrorCode::kUsage, err, path + ": cannot be read", err == ENOENT ? "check the path" : ""};
}

}  // namespace penstock::api
