// Token counting, which several APIs offer: the answer is a number that was not spent.
#pragma once

#include <memory>
#include <string>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

// `model`: where the URL names it; empty: the body does.
std::unique_ptr<Decoder> make_count_tokens(std::string model = {});

}  // namespace penstock::parsers::dialects
