// Amazon Bedrock's model APIs, on its own hosts and behind gateways: /model/{id}/{converse, invoke, …}.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

// By the path; nullptr: none of these APIs.
std::unique_ptr<Decoder> open_bedrock(const RequestHead& head);
// For hosts nobody claims: only paths that nobody else has.
std::unique_ptr<Decoder> open_bedrock_shaped(const RequestHead& head);

// Converse and ConverseStream.
std::unique_ptr<Decoder> make_converse(std::string model, bool streamed);
// InvokeModel and its streams: the body is the model vendor's own.
std::unique_ptr<Decoder> make_invoke(std::string model, std::string_view operation, bool streamed);

// {inputTokens, outputTokens, …} of Converse and of Amazon's own models: the input excludes what the cache read and
// wrote.
void take_converse_usage(Json usage, model::Usage& into);
// {stopReason, output:{message}} or one member of its stream ({messageStart}, {contentBlockStart}, …, {metadata}).
void read_converse_event(std::string_view name, Json body, model::Exchange& exchange);

}  // namespace penstock::parsers::dialects
