// Fireworks AI: chat completions; cached tokens at the top level of the usage.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"api.fireworks.ai"};

extern const Provider k_fireworks;
const Provider k_fireworks{
    .name = "fireworks",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
