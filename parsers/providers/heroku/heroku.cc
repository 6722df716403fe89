// Heroku managed inference: chat completions.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"*.inference.heroku.com"};

extern const Provider k_heroku;
const Provider k_heroku{
    .name = "heroku",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
