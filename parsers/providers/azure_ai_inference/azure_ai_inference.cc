// Azure AI model inference: models of any vendor behind chat completions, and a clone of the Messages API under
// /anthropic.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"*.services.ai.azure.com", "*.models.ai.azure.com", "*.inference.ai.azure.com"};

extern const Provider k_azure_ai_inference;
const Provider k_azure_ai_inference{
    .name = "azure.ai.inference",
    .hosts = kHosts,
    .open = dialects::open_compatible,
};

}  // namespace penstock::parsers::providers
