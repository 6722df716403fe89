#include "parsers/protocols/mcp/methods.h"

#include <algorithm>

#include "parsers/dialects/facts.h"
#include "parsers/dialects/json_rpc.h"
#include "parsers/dialects/trace.h"

namespace penstock::parsers::protocols::mcp {
namespace {

constexpr std::string_view kMethods[] = {"initialize", "ping"};
constexpr std::string_view kFamilies[] = {"tools/",   "resources/", "prompts/",     "notifications/",
                                          "tasks/",   "sampling/",  "elicitation/", "completion/",
                                          "logging/", "roots/",     "server/",      "subscriptions/"};

}  // namespace

bool is_method(std::string_view method) {
  return std::find(std::begin(kMethods), std::end(kMethods), method) != std::end(kMethods) ||
         std::any_of(std::begin(kFamilies), std::end(kFamilies),
                     [method](std::string_view family) { return method.starts_with(family); });
}

bool is_named_like_a_method(std::string_view method) {
  return method.find('/') != std::string_view::npos && std::all_of(method.begin(), method.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '/' || c == '_' || c == '-';
         });
}

void read_request(Json message, model::Exchange& exchange) {
  // The message's own context is closer to the call than that of the connection that carries it.
  dialects::take_traceparent(dialects::string_of(message["params"]["_meta"]["traceparent"]).value_or(""),
                             exchange.trace);
  if (message["method"].string_or("") != "tools/call") return;
  dialects::add_tool_call(exchange, dialects::call_id(message["id"]),
                          dialects::string_of(message["params"]["name"]).value_or(""));
}

void read_answer(Json message, model::Exchange& exchange) {
  dialects::note_rpc_error(message, exchange.stream, exchange);
  if (message["result"]["isError"].as_bool() == true && !exchange.error)
    exchange.error = model::ExchangeError{exchange.status, exchange.stream, "tool_error"};
}

}  // namespace penstock::parsers::protocols::mcp
