// Alibaba Cloud Model Studio (DashScope): the OpenAI-compatible mode.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"dashscope-intl.aliyuncs.com", "dashscope.aliyuncs.com",
                                       "dashscope-us.aliyuncs.com"};

extern const Provider k_alibaba;
const Provider k_alibaba{
    .name = "alibaba",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
