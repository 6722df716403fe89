#include "parsers/session/usage_once.h"

namespace penstock::parsers::session {

bool UsageOnce::apply(model::Exchange& exchange) {
  if (exchange.kind != model::Kind::kLlm || exchange.response_id.empty() ||
      exchange.usage_status != model::UsageStatus::kExact)
    return false;
  const auto [it, first] = seen_.try_emplace(exchange.response_id, Seen{exchange.host, exchange.usage});
  if (first) {
    order_.push_back(exchange.response_id);
    if (order_.size() > remembered_) {
      seen_.erase(order_.front());
      order_.pop_front();
    }
    return false;
  }
  const bool poll = exchange.method == "GET";
  const bool hop = exchange.host != it->second.host && exchange.usage == it->second.usage;
  if (!poll && !hop) return false;
  exchange.usage = {};
  exchange.usage_status = model::UsageStatus::kUnknown;
  exchange.iterations.clear();
  return true;
}

}  // namespace penstock::parsers::session
