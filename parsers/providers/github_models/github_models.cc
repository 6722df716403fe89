// GitHub Models: chat completions and embeddings.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"models.github.ai", "models.inference.ai.azure.com"};

extern const Provider k_github_models;
const Provider k_github_models{
    .name = "github_models",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
