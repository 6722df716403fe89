// Endpoints whose URL does not tell their API: the request body does.
#pragma once

#include <memory>
#include <string>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

// `model`: the model asked for if the body names none; may be empty.
std::unique_ptr<Decoder> make_any_body(std::string model);

}  // namespace penstock::parsers::dialects
