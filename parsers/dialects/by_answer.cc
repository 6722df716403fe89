#include "parsers/dialects/by_answer.h"

#include "parsers/dialects/anthropic.h"
#include "parsers/dialects/gemini.h"
#include "parsers/dialects/openai.h"

namespace penstock::parsers::dialects {

std::unique_ptr<Decoder> open_by_answer(const Event& event) {
  const Json body = event.json;
  const std::string_view type = body["type"].string_or("");
  if (type.starts_with("response.") || body["object"].string_or("") == "response") return make_responses();
  if (type.starts_with("message_") || type.starts_with("content_block_") ||
      (type == "message" && body["content"].is_array()))
    return make_messages();
  if (body["candidates"].is_array() || body["usageMetadata"].is_object()) {
    RequestHead head;
    head.method = "POST";
    head.path = event.kind == Event::Kind::kJson ? "/models/:generateContent" : "/models/:streamGenerateContent";
    return open_gemini(head);
  }
  if (body["choices"].is_array()) return make_chat_completions();
  return nullptr;
}

}  // namespace penstock::parsers::dialects
