// Message -> YAML: the reverse of yaml.cc, value for value.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "userspace/api/schema_keys.h"
#include "userspace/api/spelling.h"
#include "userspace/api/yaml.h"
#include "userspace/api/yaml_json.h"
#include "userspace/model/money.h"

namespace penstock::api {

namespace pb = google::protobuf;

namespace {

// Plain only where no YAML reader could take the text for something else; everything else is double-quoted.
std::string quoted(const std::string& text) {
  const auto is_alpha = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/'; };
  const auto is_safe = [&](char c) {
    return is_alpha(c) || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '/';
  };
  std::string lower = text;
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  static constexpr std::string_view kWords[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"};
  if (!text.empty() && is_alpha(text.front()) && std::all_of(text.begin(), text.end(), is_safe) &&
      std::find(std::begin(kWords), std::end(kWords), lower) == std::end(kWords))
    return text;
  std::string out = "\"";
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string scalar(const SchemaKey& k, const pb::FieldDescriptor& f, const pb::Message& m, int index) {
  const pb::Reflection& r = *m.GetReflection();
  const auto number = [&]() -> std::uint64_t {
    if (index >= 0) return r.GetRepeatedUInt32(m, &f, index);
    return f.cpp_type() == pb::FieldDescriptor::CPPTYPE_UINT32 ? r.GetUInt32(m, &f) : r.GetUInt64(m, &f);
  };
  switch (k.options.spelling()) {
    case SPELLING_USD:
      return model::format_usd({r.GetInt64(m, &f)});
    case SPELLING_COUNT:
      return format_count(number());
    case SPELLING_DURATION:
      return format_duration_ns(number());
    case SPELLING_PERCENT:
      return format_permille(static_cast<std::uint32_t>(number()));
    case SPELLING_BYTES:
      return format_bytes(number());
    case SPELLING_WINDOW: {
      Window window;
      window.CopyFrom(r.GetMessage(m, &f));
      return format_window(window);
    }
    case SPELLING_RATE: {
      Rate rate;
      rate.CopyFrom(r.GetMessage(m, &f));
      return format_rate(rate);
    }
    default:
      break;
  }
  switch (f.cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_STRING:
      return quoted(index < 0 ? r.GetString(m, &f) : r.GetRepeatedString(m, &f, index));
    case pb::FieldDescriptor::CPPTYPE_BOOL:
      return r.GetBool(m, &f) ? "true" : "false";
    case pb::FieldDescriptor::CPPTYPE_ENUM:
      return enum_spelling(index < 0 ? *r.GetEnum(m, &f) : *r.GetRepeatedEnum(m, &f, index));
    default:
      return std::to_string(number());
  }
}

std::string scalar_list(const SchemaKey& k, const pb::FieldDescriptor& f, const pb::Message& m) {
  std::string out = "[";
  for (int i = 0; i < m.GetReflection()->FieldSize(m, &f); ++i) out += (i == 0 ? "" : ", ") + scalar(k, f, m, i);
  return out + "]";
}

void write(const pb::Message& m, std::size_t indent, std::string& out) {
  const std::string pad(indent, ' ');
  for (const SchemaKey& k : schema_keys(*m.GetDescriptor())) {
    const pb::Message* holder = &m;
    bool present = true;
    for (const pb::FieldDescriptor* step : k.through) {
      present = present && holder->GetReflection()->HasField(*holder, step);
      holder = &holder->GetReflection()->GetMessage(*holder, step);
    }
    const pb::FieldDescriptor& f = *k.field;
    const pb::Reflection& r = *holder->GetReflection();
    if (!present || (f.is_repeated() ? r.FieldSize(*holder, &f) == 0 : !r.HasField(*holder, &f))) continue;
    const bool is_message =
        f.cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE && k.options.spelling() == SPELLING_PLAIN;
    if (k.prefixed) {
      for (int i = 0; i < r.FieldSize(*holder, &f); ++i) {
        const pb::Message& labelled = r.GetRepeatedMessage(*holder, &f, i);
        const pb::Descriptor& type = *f.message_type();
        const std::string label = labelled.GetReflection()->GetString(labelled, type.FindFieldByName("label"));
        out += pad + quoted(k.name + label) + ": " + scalar_list(k, *type.FindFieldByName("values"), labelled) + "\n";
      }
    } else if (f.is_map()) {
      std::vector<std::pair<std::string, std::string>> entries;
      for (int i = 0; i < r.FieldSize(*holder, &f); ++i) {
        const pb::Message& entry = r.GetRepeatedMessage(*holder, &f, i);
        const pb::Reflection& er = *entry.GetReflection();
        entries.emplace_back(er.GetString(entry, f.message_type()->map_key()),
                             er.GetString(entry, f.message_type()->map_value()));
      }
      std::sort(entries.begin(), entries.end());  // a map field has no order of its own
      out += pad + k.name + ":\n";
      for (const auto& [name, value] : entries) out += pad + "  " + quoted(name) + ": " + quoted(value) + "\n";
    } else if (f.is_repeated() && is_message) {
      out += pad + k.name + ":\n";
      for (int i = 0; i < r.FieldSize(*holder, &f); ++i) {
        std::string item;
        write(r.GetRepeatedMessage(*holder, &f, i), indent + 4, item);
        if (item.empty()) {
          out += pad + "  - {}\n";
        } else {
          item[indent + 2] = '-';
          out += item;
        }
      }
    } else if (f.is_repeated()) {
      out += pad + k.name + ": " + scalar_list(k, f, *holder) + "\n";
    } else if (is_message) {
      std::string inner;
      write(r.GetMessage(*holder, &f), indent + 2, inner);
      out += pad + k.name + (inner.empty() ? ": {}\n" : ":\n" + inner);
    } else {
      out += pad + k.name + ": " + scalar(k, f, *holder, -1) + "\n";
    }
  }
}

// Walks JSON that a library of ours has written: no error can occur in it.
class JsonToYaml {
 public:
  explicit JsonToYaml(std::string_view json) : json_(json) {}
  std::string convert() {
    node(0, false);
    return std::move(out_);
  }

 private:
  char peek() {
    while (at_ < json_.size() && (json_[at_] == ' ' || json_[at_] == '\n' || json_[at_] == ',' || json_[at_] == ':'))
      ++at_;
    return at_ < json_.size() ? json_[at_] : '\0';
  }
  // A string with its quotes, a number or a word.
  std::string_view token() {
    peek();
    const std::size_t begin = at_;
    if (at_ < json_.size() && json_[at_] == '"') {
      for (++at_; at_ < json_.size() && json_[at_] != '"'; ++at_) at_ += json_[at_] == '\\' ? 1 : 0;
      at_ = std::min(at_ + 1, json_.size());
    } else {
      while (at_ < json_.size() && std::string_view(",]}: \n").find(json_[at_]) == std::string_view::npos) ++at_;
    }
    return json_.substr(begin, at_ - begin);
  }
  void scalar(std::string_view text) {
    // JSON's escapes are YAML's too.
    const bool plain = text.size() >= 2 && text.front() == '"' && text.find('\\') == std::string_view::npos;
    out_ += plain ? quoted(std::string(text.substr(1, text.size() - 2))) : std::string(text);
  }
  // `after_key`: begins behind "key:"; else at the indent, where the document begins or behind a dash.
  void node(std::size_t indent, bool after_key) {
    const char kind = peek();
    if (kind != '{' && kind != '[') {
      if (after_key) out_ += ' ';
      scalar(token());
      out_ += '\n';
      return;
    }
    ++at_;
    const char end = kind == '{' ? '}' : ']';
    if (peek() == end) {
      ++at_;
      out_ += after_key ? " " : "";
      out_ += kind == '{' ? "{}\n" : "[]\n";
      return;
    }
    if (after_key) out_ += '\n';
    for (bool first = !after_key; peek() != end && peek() != '\0'; first = false) {
      if (!first) out_ += std::string(indent, ' ');
      if (kind == '{') {
        scalar(token());
        out_ += ':';
        node(indent + 2, true);
      } else {
        out_ += "- ";
        node(indent + 2, false);
      }
    }
    ++at_;
  }

  std::string_view json_;
  std::size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string yaml_of_json(std::string_view json) { return JsonToYaml(json).convert(); }

std::string write_yaml(const pb::Message& message, bool kind) {
  std::string out;
  if (kind) out += "kind: " + message.GetDescriptor()->name() + "\n";
  write(message, 0, out);
  if (out.empty()) out = "{}\n";
  return out;
}

}  // namespace penstock::api
