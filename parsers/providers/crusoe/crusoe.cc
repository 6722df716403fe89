// Crusoe managed inference: chat completions.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"api.inference.crusoecloud.com"};

extern const Provider k_crusoe;
const Provider k_crusoe{
    .name = "crusoe",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
