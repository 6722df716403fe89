// Vercel AI gateway: chat completions, embeddings and Messages of many vendors; the model has the vendor as prefix.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"ai-gateway.vercel.sh"};

extern const Provider k_vercel_ai_gateway;
const Provider k_vercel_ai_gateway{
    .name = "vercel_ai_gateway",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
