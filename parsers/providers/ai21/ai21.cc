// AI21 Labs: chat completions under /studio/v1.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"api.ai21.com"};

extern const Provider k_ai21;
const Provider k_ai21{
    .name = "ai21",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
