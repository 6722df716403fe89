// Hugging Face: the router in front of many vendors, the serverless API and dedicated endpoints. What Text Generation
// Inference serves there under its own paths is `self_hosted`.
#include <string_view>

#include "parsers/dialects/compatible.h"
#include "parsers/dialects/tgi.h"

namespace penstock::parsers::providers {

extern const Provider k_huggingface;
const Provider k_huggingface{
    .name = "huggingface",
    .hosts = dialects::kHuggingFaceHosts,
    .open = dialects::open_compatible,
};

}  // namespace penstock::parsers::providers
