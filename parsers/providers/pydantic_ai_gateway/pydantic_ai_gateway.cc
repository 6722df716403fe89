// Pydantic AI gateway: the APIs of several vendors below /proxy/{vendor}.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"gateway.pydantic.dev", "gateway-us.pydantic.dev", "gateway-eu.pydantic.dev"};

extern const Provider k_pydantic_ai_gateway;
const Provider k_pydantic_ai_gateway{
    .name = "pydantic_ai_gateway",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
