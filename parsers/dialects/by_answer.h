// Answers whose request was not seen (observation began in between): their shape tells who can read them.
#pragma once

#include <memory>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

// By the first event; nullptr: none that is known.
std::unique_ptr<Decoder> open_by_answer(const Event& event);

}  // namespace penstock::parsers::dialects
