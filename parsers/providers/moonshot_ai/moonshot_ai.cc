// Moonshot AI: chat completions; the usage of a stream may sit in its first choice, cached tokens at the top level.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"api.moonshot.ai", "api.moonshot.cn"};

extern const Provider k_moonshot_ai;
const Provider k_moonshot_ai{
    .name = "moonshot_ai",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
