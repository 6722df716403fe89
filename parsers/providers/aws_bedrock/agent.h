// Agents and knowledge bases on bedrock-agent-runtime: InvokeAgent, InvokeInlineAgent, RetrieveAndGenerate.
#pragma once

#include <memory>
#include <string_view>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::providers::aws_bedrock {

std::unique_ptr<Decoder> make_agent(std::string_view operation);

}  // namespace penstock::parsers::providers::aws_bedrock
