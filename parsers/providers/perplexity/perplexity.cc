// Perplexity: chat completions without /v1; usage in every chunk, CRLF framing, no [DONE], both delta and message.
#include <string_view>

#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {

constexpr std::string_view kHosts[] = {"api.perplexity.ai"};

extern const Provider k_perplexity;
const Provider k_perplexity{
    .name = "perplexity",
    .hosts = kHosts,
    .open = dialects::open_compatible,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
