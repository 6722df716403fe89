// Cerebras: chat completions; usage in the last chunk that has choices.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"api.cerebras.ai"};

extern const Provider k_cerebras;
const Provider k_cerebras{
    .name = "cerebras",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
