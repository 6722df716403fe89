// POST …/rerank, as Cohere, Voyage, Jina and the routers in front of them speak it.
#pragma once

#include <memory>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

// `strict`: refuse a request whose body is not of this API (the host is nobody's).
std::unique_ptr<Decoder> make_rerank(bool strict);

}  // namespace penstock::parsers::dialects
