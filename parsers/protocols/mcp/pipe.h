// MCP over standard input and output.
#pragma once

#include <memory>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::protocols::mcp {

std::unique_ptr<Conversation> open_pipe();

}  // namespace penstock::parsers::protocols::mcp
