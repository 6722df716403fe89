// One decoded exchange as a line of JSON: the fields a reader of recordings compares, null where nothing was reported.
#pragma once

#include <string>
#include <string_view>

#include "userspace/model/exchange.h"

namespace penstock::parsers::decode {

// Without a newline. `har_id` is left out when empty.
std::string exchange_line(std::string_view har_id, const model::Exchange& exchange);

}  // namespace penstock::parsers::decode
