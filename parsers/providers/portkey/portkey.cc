// Portkey, a gateway: the APIs of many vendors, and prompts stored there (/v1/prompts/{id}/completions), whose model
// only the answer names.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"api.portkey.ai"};

extern const Provider k_portkey;
const Provider k_portkey{
    .name = "portkey",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
