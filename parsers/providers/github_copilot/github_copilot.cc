// GitHub Copilot: chat completions and Responses without /v1. The item ids of a Responses stream change between events;
// reasoning tokens are at the top level of the usage.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"api.githubcopilot.com", "*.githubcopilot.com"};

extern const Provider k_github_copilot;
const Provider k_github_copilot{
    .name = "github_copilot",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
