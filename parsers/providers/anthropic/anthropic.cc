// Anthropic: Messages, token counting, and the completion API before them.
#include <string_view>

#include "parsers/dialects/anthropic.h"
#include "parsers/dialects/openai.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"api.anthropic.com"};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  if (auto decoder = dialects::open_anthropic(head)) return decoder;
  return dialects::open_openai_shaped(head);  // its compatibility layer, /v1/chat/completions
}

}  // namespace

extern const Provider k_anthropic;
const Provider k_anthropic{
    .name = "anthropic",
    .hosts = kHosts,
    .open = open,
};

}  // namespace penstock::parsers::providers
