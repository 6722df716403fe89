// Together AI: chat completions and completions; usage in the last chunk that has choices.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"api.together.xyz", "api.together.ai"};

extern const Provider k_together;
const Provider k_together{
    .name = "together",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
