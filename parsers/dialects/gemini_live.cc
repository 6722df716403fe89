#include "parsers/dialects/gemini.h"

namespace penstock::parsers::dialects {

std::unique_ptr<Conversation> converse_gemini(const RequestHead&) { return nullptr; }

}  // namespace penstock::parsers::dialects
