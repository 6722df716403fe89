// OpenRouter: chat completions, Responses and Messages under /api/v1. Comments keep streams alive, white space keeps
// plain answers alive, and an error can be inside a choice.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"openrouter.ai"};

extern const Provider k_openrouter;
const Provider k_openrouter{
    .name = "openrouter",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
