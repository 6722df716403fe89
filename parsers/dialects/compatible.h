// What most hosts and gateways offer: OpenAI's APIs, Anthropic's Messages, Gemini's generateContent and Bedrock's model
// APIs under any prefix.
#pragma once

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

std::unique_ptr<Decoder> open_compatible(const RequestHead& head);
std::unique_ptr<Conversation> converse_compatible(const RequestHead& head);
// On hosts nobody claims by name: the same, if the body proves it.
std::unique_ptr<Decoder> open_shaped(const RequestHead& head);

}  // namespace penstock::parsers::dialects
