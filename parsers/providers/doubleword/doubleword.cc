// Doubleword: chat completions.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"api.doubleword.ai"};

extern const Provider k_doubleword;
const Provider k_doubleword{
    .name = "doubleword",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
