// DeepSeek: chat completions (also /beta), Responses, and a clone of the Messages API under /anthropic. Cached tokens
// also come as prompt_cache_hit_tokens.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"api.deepseek.com"};

extern const Provider k_deepseek;
const Provider k_deepseek{
    .name = "deepseek",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
