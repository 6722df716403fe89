// The APIs of Amazon Bedrock that are its own.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "parsers/dialects/provider.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::providers::aws_bedrock {

// Converse and ConverseStream.
std::unique_ptr<Decoder> make_converse(std::string model, bool streamed);
// InvokeModel and InvokeModelWithResponseStream: the body is the model vendor's own.
std::unique_ptr<Decoder> make_invoke(std::string model, bool streamed);
// InvokeAgent, InvokeInlineAgent, RetrieveAndGenerate: usage is only in traces.
std::unique_ptr<Decoder> make_agent(std::string_view operation);

// {inputTokens, outputTokens, …} of Converse and of Amazon's own models: the input excludes what the cache read and
// wrote.
void take_usage(Json usage, model::Usage& into);
// {stopReason, output:{message}} or one member of its stream ({messageStart}, {contentBlockStart}, …, {metadata}).
void read_converse_event(std::string_view name, Json body, model::Exchange& exchange);

}  // namespace penstock::parsers::providers::aws_bedrock
