// Anthropic's Messages API: its own host, its clones, and the clouds that carry it (Vertex AI, Bedrock, Azure).
#pragma once

#include <memory>
#include <string>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

// By the end of the path; nullptr: none of these APIs.
std::unique_ptr<Decoder> open_anthropic(const RequestHead& head);
// For hosts nobody claims: the body must prove the shape.
std::unique_ptr<Decoder> open_anthropic_shaped(const RequestHead& head);
// `model`: where the URL names it; empty: the body does.
std::unique_ptr<Decoder> make_messages(std::string model = {}, bool strict = false);

}  // namespace penstock::parsers::dialects
