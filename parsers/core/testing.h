// For tests and benchmarks: keeps the exchanges that have ended.
#pragma once

#include <vector>

#include "parsers/core/connection_parser.h"
#include "userspace/model/exchange.h"

namespace penstock::parsers::testing {

struct Completed : ExchangeSink {
  std::vector<model::Exchange> exchanges;
  void on_request_head(model::Exchange&) override {}
  void on_request(model::Exchange&, std::uint64_t) override {}
  void on_progress(model::Exchange&) override {}
  void on_complete(model::Exchange& exchange) override { exchanges.push_back(exchange); }
};

}  // namespace penstock::parsers::testing
