#include "parsers/dialects/openai.h"

namespace penstock::parsers::dialects {

std::unique_ptr<Conversation> converse_openai(const RequestHead&) { return nullptr; }

}  // namespace penstock::parsers::dialects
