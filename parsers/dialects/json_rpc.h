// JSON-RPC 2.0, which MCP and A2A speak. A body is one message or a batch.
#pragma once

#include <string_view>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

bool is_json_rpc(Json message);
// Calls fn(message) for the message, or for each of a batch. A message that was cut has not been sent.
template <class Fn>
void each_message(Json body, Fn&& fn) {
  if (body.is_array()) {
    for (Json message : body.items())
      if (message.complete()) fn(message);
  } else if (body.complete()) {
    fn(body);
  }
}
// The method of the first request or notification in `body`; empty when it only answers.
std::string_view first_method(Json body);
// Notes the error of an answer; its code is its type, since JSON-RPC has nothing else.
void note_rpc_error(Json message, bool in_stream, model::Exchange& exchange);

}  // namespace penstock::parsers::dialects
