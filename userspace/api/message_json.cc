#include "userspace/api/message_json.h"

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "userspace/base/utf8.h"

namespace penstock::api {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

class Printer {
 public:
  Printer(std::string& out, JsonStyle style) : out_(out), pretty_(style == JsonStyle::kPretty) {}

  void message(const Message& m) {
    const Reflection& r = *m.GetReflection();
    open('{');
    bool first = true;
    for (int i = 0; i < m.GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor& f = *m.GetDescriptor()->field(i);
      if (f.is_repeated() ? r.FieldSize(m, &f) == 0 : f.has_presence() && !r.HasField(m, &f)) continue;
      separate(first);
      key(f.name());
      if (f.is_map())
        map(m, r, f);
      else if (f.is_repeated())
        list(m, r, f);
      else
        single(m, r, f);
    }
    close('}', first);
  }

 private:
  void single(const Message& m, const Reflection& r, const FieldDescriptor& f) {
    switch (f.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        number(r.GetInt32(m, &f));
        break;
      case FieldDescriptor::CPPTYPE_INT64:
        number(r.GetInt64(m, &f));
        break;
      case FieldDescriptor::CPPTYPE_UINT32:
        number(r.GetUInt32(m, &f));
        break;
      case FieldDescriptor::CPPTYPE_UINT64:
        number(r.GetUInt64(m, &f));
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        number(r.GetDouble(m, &f));
        break;
      case FieldDescriptor::CPPTYPE_FLOAT:
        number(r.GetFloat(m, &f));
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        out_ += r.GetBool(m, &f) ? "true" : "false";
        break;
      case FieldDescriptor::CPPTYPE_ENUM:
        append_json_string(out_, r.GetEnum(m, &f)->name());
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        append_json_string(out_, r.GetString(m, &f));
        break;
      case FieldDescriptor::CPPTYPE_MESSAGE:
        message(r.GetMessage(m, &f));
        break;
    }
  }

  void element(const Message& m, const Reflection& r, const FieldDescriptor& f, int i) {
    switch (f.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        number(r.GetRepeatedInt32(m, &f, i));
        break;
      case FieldDescriptor::CPPTYPE_INT64:
        number(r.GetRepeatedInt64(m, &f, i));
        break;
      case FieldDescriptor::CPPTYPE_UINT32:
        number(r.GetRepeatedUInt32(m, &f, i));
        break;
      case FieldDescriptor::CPPTYPE_UINT64:
        number(r.GetRepeatedUInt64(m, &f, i));
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        number(r.GetRepeatedDouble(m, &f, i));
        break;
      case FieldDescriptor::CPPTYPE_FLOAT:
        number(r.GetRepeatedFloat(m, &f, i));
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        out_ += r.GetRepeatedBool(m, &f, i) ? "true" : "false";
        break;
      case FieldDescriptor::CPPTYPE_ENUM:
        append_json_string(out_, r.GetRepeatedEnum(m, &f, i)->name());
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        append_json_string(out_, r.GetRepeatedString(m, &f, i));
        break;
      case FieldDescriptor::CPPTYPE_MESSAGE:
        message(r.GetRepeatedMessage(m, &f, i));
        break;
    }
  }

  void list(const Message& m, const Reflection& r, const FieldDescriptor& f) {
    open('[');
    bool first = true;
    for (int i = 0; i < r.FieldSize(m, &f); ++i) {
      separate(first);
      element(m, r, f, i);
    }
    close(']', first);
  }

  // Maps are printed in key order: the same message is the same text.
  void map(const Message& m, const Reflection& r, const FieldDescriptor& f) {
    const FieldDescriptor& k = *f.message_type()->map_key();
    const FieldDescriptor& v = *f.message_type()->map_value();
    std::vector<std::pair<std::string, int>> order;
    for (int i = 0; i < r.FieldSize(m, &f); ++i) {
      const Message& entry = r.GetRepeatedMessage(m, &f, i);
      if (k.cpp_type() != FieldDescriptor::CPPTYPE_STRING) PN_BUG("map keys of the control API are strings");
      order.emplace_back(entry.GetReflection()->GetString(entry, &k), i);
    }
    std::sort(order.begin(), order.end());
    open('{');
    bool first = true;
    for (const auto& [name, i] : order) {
      const Message& entry = r.GetRepeatedMessage(m, &f, i);
      separate(first);
      key(name);
      single(entry, *entry.GetReflection(), v);
    }
    close('}', first);
  }

  void key(std::string_view name) {
    append_json_string(out_, name);
    out_ += pretty_ ? ": " : ":";
  }
  template <class T>
  void number(T value) {
    fmt::format_to(std::back_inserter(out_), "{}", value);
  }
  void open(char c) {
    out_ += c;
    ++depth_;
  }
  void separate(bool& first) {
    if (!first) out_ += ',';
    first = false;
    newline();
  }
  void close(char c, bool empty) {
    --depth_;
    if (!empty) newline();
    out_ += c;
  }
  void newline() {
    if (!pretty_) return;
    out_ += '\n';
    out_.append(2 * depth_, ' ');
  }

  std::string& out_;
  bool pretty_;
  std::size_t depth_ = 0;
};

base::Error usage(std::string what, std::string hint = {}) {
  return base::Error{base::ErrorCode::kUsage, 0, std::move(what), std::move(hint)};
}

template <class T>
bool parse_number(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  std::size_t clean = 0;  // start of what can be copied as it is
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
      ++i;
      continue;
    }
    const std::size_t length = base::utf8_sequence(text.substr(i));
    if (length > 1) {
      i += length;
      continue;
    }
    out.append(text, clean, i - clean);
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (length == 0)
          out += "\xef\xbf\xbd";
        else
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
    }
    clean = ++i;
  }
  out.append(text, clean, text.size() - clean);
  out += '"';
}

std::string to_json(const Message& message, JsonStyle style) {
  std::string out;
  Printer(out, style).message(message);
  return out;
}

base::Result<> from_json(std::string_view json, Message& message) {
  const auto status = google::protobuf::util::JsonStringToMessage({json.data(), json.size()}, &message);
  if (status.ok()) return {};
  std::string what(status.message().data(), status.message().size());
  std::replace(what.begin(), what.end(), '\n', ' ');
  return usage("bad JSON: " + what);
}

base::Result<> set_field(Message& message, std::string_view name, std::string_view value) {
  const Reflection& r = *message.GetReflection();
  const std::size_t dot = name.find('.');
  const FieldDescriptor* f = message.GetDescriptor()->FindFieldByName(std::string(name.substr(0, dot)));
  if (f == nullptr) return usage(fmt::format("unknown field \"{}\"", name));
  if (f->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    if (dot == std::string_view::npos || f->is_repeated())
      return usage(fmt::format("\"{}\" is not a single value", name));
    return set_field(*r.MutableMessage(&message, f), name.substr(dot + 1), value);
  }
  if (dot != std::string_view::npos) return usage(fmt::format("\"{}\" has no fields", name.substr(0, dot)));
  bool ok = true;
  const auto store = [&]<class T>(T number, auto set) {
    ok = parse_number(value, number);
    if (ok) (r.*set)(&message, f, number);
  };
  if (f->is_repeated()) {
    if (f->cpp_type() != FieldDescriptor::CPPTYPE_STRING)
      return usage(fmt::format("\"{}\" is not a single value", name));
    r.AddString(&message, f, std::string(value));
    return {};
  }
  switch (f->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      r.SetString(&message, f, std::string(value));
      break;
    case FieldDescriptor::CPPTYPE_INT32:
      store(std::int32_t{}, &Reflection::SetInt32);
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      store(std::int64_t{}, &Reflection::SetInt64);
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      store(std::uint32_t{}, &Reflection::SetUInt32);
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      store(std::uint64_t{}, &Reflection::SetUInt64);
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      ok = value == "true" || value == "1" || value == "false" || value == "0" || value.empty();
      r.SetBool(&message, f, value == "true" || value == "1" || value.empty());  // "?follow" alone means yes
      break;
    default:
      ok = false;
  }
  if (!ok) return usage(fmt::format("\"{}\" is not a value for {}", value, name));
  return {};
}

}  // namespace penstock::api
