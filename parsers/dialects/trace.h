// W3C Trace Context (level 1): `traceparent` in header fields, in MCP's `_meta`, in the metadata of a message.
#pragma once

#include <string_view>

#include "userspace/model/exchange.h"

namespace penstock::parsers::dialects {

// Takes over a valid `traceparent`; anything else leaves `into` alone.
void take_traceparent(std::string_view traceparent, model::TraceContext& into);

}  // namespace penstock::parsers::dialects
