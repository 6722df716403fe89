// OpenAI's platform, and the backend of ChatGPT that Codex talks to.
#include <string_view>

#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"api.openai.com", "*.api.openai.com", "chatgpt.com"};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  // chatgpt.com is a web site besides: only what Codex calls is an API.
  if (head.host == "chatgpt.com" && !dialects::Segments(head.path).contains("codex")) return nullptr;
  return dialects::open_openai(head);
}

}  // namespace

extern const Provider k_openai;
const Provider k_openai{
    .name = "openai",
    .hosts = kHosts,
    .open = open,
    .converse = dialects::converse_openai,
};

}  // namespace penstock::parsers::providers
