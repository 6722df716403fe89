// An exchange as one line of JSON, exactly the message penstock.api.Exchange: the one writer behind `observe`, `decode`
// and the jsonl exporter. No reflection: it costs about as much as copying the line. Thread-safe.
#pragma once

#include <string>

#include "userspace/model/exchange.h"

namespace penstock::api {

// Appends the object without a newline.
void append_exchange_json(std::string& out, const model::Exchange& exchange);

}  // namespace penstock::api
