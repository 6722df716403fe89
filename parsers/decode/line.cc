#include "parsers/decode/line.h"

#include <fmt/format.h>

#include "userspace/api/message_json.h"
#include "userspace/model/names.h"

namespace penstock::parsers::decode {
namespace {

class Line {
 public:
  std::string& member(std::string_view name) {
    if (text_.back() != '{') text_ += ',';
    api::append_json_string(text_, name);
    text_ += ':';
    return text_;
  }
  // Null when empty: no API reports an empty name.
  void text(std::string_view name, std::string_view value) {
    member(name);
    if (value.empty()) {
      text_ += "null";
    } else {
      api::append_json_string(text_, value);
    }
  }
  void count(std::string_view name, const std::optional<std::uint64_t>& value) {
    member(name) += value ? fmt::to_string(*value) : "null";
  }
  void open(std::string_view name) { member(name) += '{'; }
  void close() { text_ += '}'; }
  std::string take() {
    text_ += '}';
    return std::move(text_);
  }
  void id(const model::CallId& id) {
    if (const auto* text = std::get_if<std::string>(&id)) {
      api::append_json_string(text_, *text);
    } else if (const auto* number = std::get_if<std::int64_t>(&id)) {
      text_ += fmt::to_string(*number);
    } else {
      text_ += "null";
    }
  }
  std::string& raw() { return text_; }

 private:
  std::string text_ = "{";
};

void usage_members(Line& line, const model::Usage& usage) {
  line.count("input_tokens", usage.input_tokens);
  line.count("output_tokens", usage.output_tokens);
  line.count("cache_read_tokens", usage.cache_read_tokens);
  line.count("cache_write_tokens", usage.cache_write_tokens);
  line.count("reasoning_tokens", usage.reasoning_tokens);
  line.count("audio_input_tokens", usage.audio_input_tokens);
  line.count("audio_output_tokens", usage.audio_output_tokens);
  line.count("reported_total_tokens", usage.reported_total_tokens);
}

}  // namespace

std::string exchange_line(std::string_view har_id, const model::Exchange& exchange) {
  Line line;
  if (!har_id.empty()) line.text("har_id", har_id);
  line.text("kind", model::name(exchange.kind));
  line.text("provider", exchange.provider);
  line.text("operation", exchange.operation);
  line.text("request_model", exchange.request_model);
  line.text("response_model", exchange.response_model);
  line.open("usage");
  usage_members(line, exchange.usage);
  line.close();
  line.text("usage_status", model::name(exchange.usage_status));
  line.text("finish_reason", exchange.finish_reason.value_or(""));
  line.member("tool_calls") += '[';
  for (const model::ToolCall& call : exchange.tool_calls) {
    if (line.raw().back() != '[') line.raw() += ',';
    line.raw() += "{\"id\":";
    line.id(call.id);
    line.raw() += ",\"name\":";
    api::append_json_string(line.raw(), call.name);
    line.raw() += '}';
  }
  line.raw() += ']';
  line.member("stream") += exchange.stream ? "true" : "false";
  if (exchange.error) {
    line.open("error");
    line.count("status", exchange.error->status);
    line.member("in_stream") += exchange.error->in_stream ? "true" : "false";
    line.text("type", exchange.error->type);
    line.close();
  } else {
    line.member("error") += "null";
  }
  line.count("status", exchange.status == 0 ? std::nullopt : std::optional<std::uint64_t>(exchange.status));
  line.text("host", exchange.host);
  line.text("response_id", exchange.response_id);
  line.text("conversation_id", exchange.conversation_id);
  line.text("trace_id", exchange.trace.trace_id);
  line.text("parent_span_id", exchange.trace.parent_id);
  if (!exchange.iterations.empty()) {
    line.member("iterations") += '[';
    for (const model::Iteration& iteration : exchange.iterations) {
      if (line.raw().back() != '[') line.raw() += ',';
      line.raw() += '{';
      line.text("model", iteration.model);
      usage_members(line, iteration.usage);
      line.close();
    }
    line.raw() += ']';
  }
  return line.take();
}

}  // namespace penstock::parsers::decode
