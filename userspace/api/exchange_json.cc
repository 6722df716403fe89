#include "userspace/api/exchange_json.h"

#include <fmt/format.h>

#include <concepts>
#include <string_view>

#include "userspace/api/message_json.h"
#include "userspace/model/names.h"

namespace penstock::api {
namespace {

// Writes the members of one object; nested objects are written by nested Objects.
class Object {
 public:
  explicit Object(std::string& out) : out_(out) { out_ += '{'; }
  ~Object() { out_ += '}'; }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  std::string& key(std::string_view name) {
    out_ += first_ ? "\"" : ",\"";
    first_ = false;
    out_ += name;
    out_ += "\":";
    return out_;
  }
  void text(std::string_view name, std::string_view value) { append_json_string(key(name), value); }
  void known(std::string_view name, std::string_view value) {
    if (!value.empty()) text(name, value);
  }
  void number(std::string_view name, std::integral auto value) {
    const fmt::format_int digits(value);
    key(name).append(digits.data(), digits.size());
  }
  template <class T>
  void known(std::string_view name, const std::optional<T>& value) {
    if (value) number(name, *value);
  }
  // For plain integers whose 0 means "none".
  void nonzero(std::string_view name, std::integral auto value) {
    if (value != 0) number(name, value);
  }
  void flag(std::string_view name, bool value) { key(name) += value ? "true" : "false"; }

 private:
  std::string& out_;
  bool first_ = true;
};

template <class List, class Write>
void array(Object& parent, std::string_view name, const List& items, Write write) {
  if (items.empty()) return;
  std::string& out = parent.key(name);
  char separator = '[';
  for (const auto& item : items) {
    out += separator;
    separator = ',';
    write(out, item);
  }
  out += ']';
}

void usage(std::string& out, const model::Usage& u) {
  Object o(out);
  o.known("input_tokens", u.input_tokens);
  o.known("output_tokens", u.output_tokens);
  o.known("cache_read_tokens", u.cache_read_tokens);
  o.known("cache_write_tokens", u.cache_write_tokens);
  o.known("cache_write_1h_tokens", u.cache_write_1h_tokens);
  o.known("reasoning_tokens", u.reasoning_tokens);
  o.known("audio_input_tokens", u.audio_input_tokens);
  o.known("audio_output_tokens", u.audio_output_tokens);
  o.known("reported_total_tokens", u.reported_total_tokens);
  o.known("web_search_requests", u.web_search_requests);
}

void call_id(Object& o, const model::CallId& id, std::string_view text_name, std::string_view number_name) {
  if (const auto* text = std::get_if<std::string>(&id))
    o.text(text_name, *text);
  else if (const auto* number = std::get_if<std::int64_t>(&id))
    o.number(number_name, *number);
}

void request_facts(std::string& out, const model::RequestFacts& r) {
  Object o(out);
  o.nonzero("body_bytes", r.body_bytes);
  o.nonzero("text_bytes", r.text_bytes);
  o.nonzero("media_bytes", r.media_bytes);
  o.nonzero("media_parts", r.media_parts);
  o.known("max_output_tokens", r.max_output_tokens);
  o.known("choices", r.choices);
  array(o, "offered_tools", r.offered_tools,
        [](std::string& to, const std::string& name) { append_json_string(to, name); });
  array(o, "tool_results", r.tool_results, [](std::string& to, const model::CallId& id) {
    Object item(to);
    call_id(item, id, "text", "number");
  });
  o.known("service_tier", r.service_tier);
}

void verdict(std::string& out, const model::Verdict& v) {
  Object o(out);
  o.text("action", model::name(v.action));
  o.text("mode", model::name(v.mode));
  o.known("policy", v.policy);
  o.known("rule", v.rule);
  o.known("reason", v.reason);
  o.nonzero("gate_ns", v.gate_ns);
}

void timing(std::string& out, const model::Timing& t) {
  Object o(out);
  o.number("start_real_ns", t.start_real_ns);
  o.known("request_sent_ns", t.request_sent_ns);
  o.known("first_chunk_ns", t.first_chunk_ns);
  o.known("last_chunk_ns", t.last_chunk_ns);
  o.known("total_ns", t.total_ns);
}

}  // namespace

void append_exchange_json(std::string& out, const model::Exchange& x) {
  Object o(out);
  o.number("id", x.id);
  o.text("kind", model::name(x.kind));
  o.known("provider", x.provider);
  o.known("operation", x.operation);
  o.known("request_model", x.request_model);
  o.known("response_model", x.response_model);
  usage(o.key("usage"), x.usage);
  o.text("usage_status", model::name(x.usage_status));
  if (x.cost) o.number("cost_nano_usd", x.cost->value);
  o.text("price_status", model::name(x.price_status));
  if (x.finish_reason) o.text("finish_reason", *x.finish_reason);
  array(o, "tool_calls", x.tool_calls, [](std::string& to, const model::ToolCall& call) {
    Object item(to);
    item.text("name", call.name);
    call_id(item, call.id, "id", "id_number");
  });
  o.flag("stream", x.stream);
  o.nonzero("status", x.status);
  if (x.error) {
    Object e(o.key("error"));
    e.nonzero("status", x.error->status);
    if (x.error->in_stream) e.flag("in_stream", true);
    e.known("type", x.error->type);
  }
  o.known("agent", x.subject.agent);
  o.known("run", x.subject.run);
  o.nonzero("pid", x.subject.process.pid);
  verdict(o.key("verdict"), x.verdict);
  timing(o.key("timing"), x.timing);
  {
    Object c(o.key("coverage"));
    c.number("lost_bytes", x.coverage.lost_bytes);
    c.flag("truncated_start", x.coverage.truncated_start);
  }
  o.nonzero("connection", x.connection);
  o.known("host", x.host);
  o.nonzero("port", x.port);
  o.known("method", x.method);
  o.known("path", x.path);
  o.known("response_id", x.response_id);
  o.known("conversation_id", x.conversation_id);
  o.known("service_tier", x.service_tier);
  request_facts(o.key("request"), x.request);
  array(o, "iterations", x.iterations, [](std::string& to, const model::Iteration& i) {
    Object item(to);
    item.known("model", i.model);
    usage(item.key("usage"), i.usage);
  });
  o.known("exe", x.subject.exe);
  o.known("user", x.subject.user);
  o.known("cgroup", x.subject.cgroup);
  o.known("unit", x.subject.unit);
  o.known("namespace", x.subject.ns);
  o.known("pod", x.subject.pod);
  o.known("container", x.subject.container);
  o.known("trace_id", x.trace.trace_id);
  o.known("parent_span_id", x.trace.parent_id);
}

}  // namespace penstock::api
