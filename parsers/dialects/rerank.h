// POST …/rerank, as Cohere, Voyage, Jina and the routers in front of them speak it.
#pragma once

#include <memory>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

std::unique_ptr<Decoder> make_rerank();

}  // namespace penstock::parsers::dialects
