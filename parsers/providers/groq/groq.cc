// Groq: chat completions; the usage of a stream also comes as x_groq.usage; errors in the middle of a stream.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"api.groq.com"};

extern const Provider k_groq;
const Provider k_groq{
    .name = "groq",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
