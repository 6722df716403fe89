#include "parsers/dialects/compatible.h"

#include "parsers/dialects/anthropic.h"
#include "parsers/dialects/bedrock.h"
#include "parsers/dialects/gemini.h"
#include "parsers/dialects/openai.h"

namespace penstock::parsers::dialects {

std::unique_ptr<Decoder> open_compatible(const RequestHead& head) {
  if (auto decoder = open_openai(head)) return decoder;
  if (auto decoder = open_anthropic(head)) return decoder;
  if (auto decoder = open_gemini(head)) return decoder;
  return open_bedrock(head);
}

std::unique_ptr<Conversation> converse_compatible(const RequestHead& head) {
  if (auto conversation = converse_openai(head)) return conversation;
  return converse_gemini(head);
}

std::unique_ptr<Decoder> open_shaped(const RequestHead& head) {
  if (auto decoder = open_openai_shaped(head)) return decoder;
  if (auto decoder = open_anthropic_shaped(head)) return decoder;
  // Paths that are unmistakable.
  if (auto decoder = open_gemini(head)) return decoder;
  return open_bedrock_shaped(head);
}

}  // namespace penstock::parsers::dialects
