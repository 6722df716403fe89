// Z.ai: chat completions under /api/paas/v4 and a clone of the Messages API under /api/anthropic.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"api.z.ai"};

extern const Provider k_z_ai;
const Provider k_z_ai{
    .name = "z_ai",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
