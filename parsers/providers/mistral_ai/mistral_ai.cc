// Mistral AI: chat completions, embeddings, transcriptions. Audio tokens are counted beside the prompt.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"api.mistral.ai", "codestral.mistral.ai"};

extern const Provider k_mistral_ai;
const Provider k_mistral_ai{
    .name = "mistral_ai",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
