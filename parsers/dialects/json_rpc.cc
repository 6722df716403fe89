#include "parsers/dialects/json_rpc.h"

#include "parsers/dialects/facts.h"

namespace penstock::parsers::dialects {

bool is_json_rpc(Json message) {
  if (message.is_array()) message = *message.items().begin();
  if (message["jsonrpc"].string_or("") != "2.0") return false;
  return message["method"].is_string() || message["result"].exists() || message["error"].is_object();
}

std::string_view first_method(Json body) {
  std::string_view method;
  each_message(body, [&method](Json message) {
    if (method.empty()) method = string_of(message["method"]).value_or("");
  });
  return method;
}

void note_rpc_error(Json message, bool in_stream, model::Exchange& exchange) {
  if (!message["error"].is_object() || exchange.error) return;
  exchange.error =
      model::ExchangeError{exchange.status, in_stream, std::string(message["error"]["code"].number_text())};
}

}  // namespace penstock::parsers::dialects
