#include "parsers/dialects/responses.h"

#include <algorithm>
#include <string_view>

#include "parsers/dialects/errors.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::dialects {
namespace {

// Calls that the client has to execute. Others (web_search_call, mcp_call, …) the provider runs itself.
bool client_call(Json item, std::string_view type) {
  // xAI's search of X runs at the provider, under the names and ids of its own.
  if (type == "custom_tool_call" && item["call_id"].string_or("").starts_with("xs_call")) return false;
  for (std::string_view name :
       {"function_call", "custom_tool_call", "computer_call", "local_shell_call", "shell_call", "apply_patch_call"})
    if (type == name) return true;
  return type == "tool_search_call" && item["execution"].string_or("") == "client";
}

// Parts with a text each, or the text itself.
std::uint64_t generated_text(Json content) {
  if (content.is_string()) return content.text_bytes();
  std::uint64_t text = 0;
  for (Json part : content.items())
    text += part["text"].text_bytes() + part["refusal"].text_bytes() + part["transcript"].text_bytes();
  return text;
}

}  // namespace

void ResponseReader::item(Json item, model::Exchange& exchange) {
  const std::string_view type = item["type"].string_or("");
  if (!item.complete() || !client_call(item, type)) return;
  model::CallId id = call_id(item["call_id"]);
  if (std::holds_alternative<std::monostate>(id)) id = call_id(item["id"]);
  // Tools of OpenAI's own making have no name but that of their call.
  const std::string_view name = string_of(item["name"]).value_or(type == "tool_search_call" ? "tool_search" : type);
  // The item's own id may change between the events of one stream; the call's does not.
  const bool known = std::any_of(exchange.tool_calls.begin(), exchange.tool_calls.end(),
                                 [&id](const model::ToolCall& call) { return call.id == id; });
  if (!known || std::holds_alternative<std::monostate>(id)) add_tool_call(exchange, std::move(id), name);
}

void ResponseReader::object(Json response, bool last, model::Exchange& exchange) {
  take_string(response["id"], exchange.response_id);
  take_string(response["model"], exchange.response_model);
  take_string(response["conversation"]["id"], exchange.conversation_id);
  take_string(response["service_tier"], exchange.service_tier);
  take_openai_usage(response["usage"], exchange.usage);
  if (!last) return;
  if (const auto status = string_of(response["status"])) {
    exchange.finish_reason = std::string(*status);
    const auto reason = string_of(response["incomplete_details"]["reason"]);
    if (*status == "incomplete" && reason) exchange.finish_reason = std::string(*reason);
  }
  std::uint64_t text = 0;
  for (Json output : response["output"].items()) {
    item(output, exchange);
    for (std::string_view key : {"content", "summary", "arguments", "input"}) text += generated_text(output[key]);
  }
  // Of a stream it was counted as it came.
  exchange.output_text_bytes = std::max(exchange.output_text_bytes, text);
}

bool ResponseReader::event(Json event, model::Exchange& exchange) {
  const std::string_view type = event["type"].string_or("");
  if (type == "response.output_item.added" || type == "response.output_item.done") {
    item(event["item"], exchange);
    return false;
  }
  if (type.ends_with(".delta")) {
    if (!type.ends_with("audio.delta")) exchange.output_text_bytes += event["delta"].text_bytes();
    return false;
  }
  const bool last = type == "response.completed" || type == "response.incomplete" || type == "response.failed" ||
                    type == "response.done" || type == "response.cancelled";
  const Json response = event["response"];
  if (response.is_object()) object(response, last, exchange);
  if (type == "response.failed" || type == "error") note_error(response.is_object() ? response : event, true, exchange);
  return last || type == "error";
}

void read_response_request(Json body, model::Exchange& exchange) {
  take_string(body["conversation"], exchange.conversation_id);
  take_string(body["conversation"]["id"], exchange.conversation_id);
}

}  // namespace penstock::parsers::dialects
