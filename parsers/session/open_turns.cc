#include "parsers/session/open_turns.h"

#include <algorithm>

namespace penstock::parsers::session {

void OpenTurns::lost(std::uint64_t bytes) {
  for (const auto& turn : turns_) {
    turn->exchange.coverage.lost_bytes += bytes;
    turn->lossy = true;
  }
}

void OpenTurns::close() {
  while (!turns_.empty()) complete(turns_.front()->exchange, model::UsageStatus::kIncomplete);
}

model::Exchange& OpenTurns::begin() {
  auto turn = std::make_unique<Turn>();
  turn->exchange = like_;
  turn->start_ns = now_ns_;
  model::Exchange& exchange = turn->exchange;
  turns_.push_back(std::move(turn));
  sink_.on_request_head(exchange);
  return exchange;
}

OpenTurns::Turn* OpenTurns::find(const model::Exchange& exchange) {
  const auto it =
      std::find_if(turns_.begin(), turns_.end(), [&](const auto& turn) { return &turn->exchange == &exchange; });
  return it == turns_.end() ? nullptr : it->get();
}

void OpenTurns::requested(model::Exchange& exchange) {
  exchange.timing.request_sent_ns = 0;
  sink_.on_request(exchange, end_pos_);
}

void OpenTurns::progress(model::Exchange& exchange) {
  if (const Turn* turn = find(exchange)) {
    exchange.timing.last_chunk_ns = now_ns_ - turn->start_ns;
    if (!exchange.timing.first_chunk_ns) exchange.timing.first_chunk_ns = exchange.timing.last_chunk_ns;
  }
  sink_.on_progress(exchange);
}

void OpenTurns::complete(model::Exchange& exchange, model::UsageStatus status) {
  const Turn* turn = find(exchange);
  if (turn == nullptr) return;
  // Usage is a matter of models: tools and agents have none to be incomplete.
  if (exchange.kind == model::Kind::kLlm)
    exchange.usage_status = turn->lossy ? model::UsageStatus::kIncomplete : status;
  exchange.timing.total_ns = now_ns_ - turn->start_ns;
  sink_.on_complete(exchange);
  std::erase_if(turns_, [turn](const auto& one) { return one.get() == turn; });
}

}  // namespace penstock::parsers::session
