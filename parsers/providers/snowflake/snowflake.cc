// Snowflake Cortex: chat completions; an empty finish reason until the last chunk, padding in tool_calls.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"*.snowflakecomputing.com"};

extern const Provider k_snowflake;
const Provider k_snowflake{
    .name = "snowflake",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
