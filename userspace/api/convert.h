// model::Exchange as the message penstock.api.Exchange: unknown becomes absent. Thread-safe.
#pragma once

#include "userspace/api/exchange.pb.h"
#include "userspace/model/exchange.h"

namespace penstock::api {

Exchange to_proto(const model::Exchange& exchange);
Usage to_proto(const model::Usage& usage);

}  // namespace penstock::api
