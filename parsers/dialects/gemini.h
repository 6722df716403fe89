// Google's generateContent family, as the Gemini API and Vertex AI serve it: model and operation are in the URL.
#pragma once

#include <memory>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

// nullptr: no inference (files, caches, operations, …).
std::unique_ptr<Decoder> open_gemini(const RequestHead& head);
// BidiGenerateContent over a WebSocket; nullptr for other paths.
std::unique_ptr<Conversation> converse_gemini(const RequestHead& head);

// usageMetadata: candidates and thoughts are disjoint, and the prompt of tool use is beside the prompt.
void take_gemini_usage(Json usage, model::Usage& into);

}  // namespace penstock::parsers::dialects
