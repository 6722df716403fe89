// What MCP messages say, whatever carries them (HTTP, event streams, pipes).
#pragma once

#include <string_view>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::protocols::mcp {

// A method of the protocol, in any revision.
bool is_method(std::string_view method);
// "some/thing": other users of JSON-RPC over HTTP name their methods with underscores or dots.
bool is_named_like_a_method(std::string_view method);
// A message from the client: tool calls and their names.
void read_request(Json message, model::Exchange& exchange);
// A message from the server: a failed call is an error.
void read_answer(Json message, model::Exchange& exchange);

}  // namespace penstock::parsers::protocols::mcp
