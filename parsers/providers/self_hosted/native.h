// What inference servers speak besides their copies of the big APIs.
#pragma once

#include <memory>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::providers::self_hosted {

// SGLang's /generate and llama.cpp's /completion and /infill; nullptr: neither.
std::unique_ptr<Decoder> open_native(const RequestHead& head);

}  // namespace penstock::parsers::providers::self_hosted
