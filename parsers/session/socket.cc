#include "parsers/session/socket.h"

#include <algorithm>

namespace penstock::parsers::session {

Socket::Socket(const RequestHead& head, const Provider& provider, std::unique_ptr<Conversation> conversation,
               wire::websocket::Options options, ExchangeSink& sink)
    : head_(head), provider_(provider), conversation_(std::move(conversation)), sink_(sink), connection_(*this, options) {}

void Socket::feed(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes, std::uint64_t now_ns) {
  now_ns_ = now_ns;
  connection_.feed(direction, pos, bytes);
}

void Socket::gap(Direction direction, std::uint64_t bytes) {
  for (const auto& turn : turns_) turn->exchange.coverage.lost_bytes += bytes;
  lossy_ = lossy_ || !turns_.empty();
  connection_.gap(direction, bytes);
}

void Socket::close(std::uint64_t now_ns) {
  now_ns_ = now_ns;
  connection_.close();
  while (!turns_.empty()) complete(turns_.front()->exchange, model::UsageStatus::kIncomplete);
}

void Socket::on_message_begin(Direction direction, wire::websocket::Opcode, std::uint64_t) { digest(direction).clear(); }

void Socket::on_message_data(Direction direction, std::span<const std::uint8_t> bytes) {
  digest(direction).feed({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

void Socket::on_message_end(Direction direction, bool whole, std::uint64_t end_pos) {
  if (direction == Direction::kToServer) end_pos_ = end_pos;
  wire::json::Digest& message = digest(direction);
  if (whole && message.finish() == ParseState::kDone) conversation_->message(direction, message.root(), *this);
  message.clear();
}

model::Exchange& Socket::begin() {
  auto turn = std::make_unique<Turn>();
  turn->start_ns = now_ns_;
  model::Exchange& exchange = turn->exchange;
  exchange.kind = model::Kind::kLlm;
  exchange.provider = std::string(provider_.name);
  exchange.host = head_.host;
  exchange.port = head_.port;
  exchange.method = head_.method;
  exchange.path = head_.path;
  exchange.status = 101;
  exchange.stream = true;
  turns_.push_back(std::move(turn));
  sink_.on_request_head(exchange);
  return exchange;
}

Socket::Turn* Socket::find(const model::Exchange& exchange) {
  const auto it = std::find_if(turns_.begin(), turns_.end(), [&](const auto& turn) { return &turn->exchange == &exchange; });
  return it == turns_.end() ? nullptr : it->get();
}

void Socket::requested(model::Exchange& exchange) {
  exchange.timing.request_sent_ns = 0;
  sink_.on_request(exchange, end_pos_);
}

void Socket::progress(model::Exchange& exchange) {
  if (const Turn* turn = find(exchange)) {
    exchange.timing.last_chunk_ns = now_ns_ - turn->start_ns;
    if (!exchange.timing.first_chunk_ns) exchange.timing.first_chunk_ns = exchange.timing.last_chunk_ns;
  }
  sink_.on_progress(exchange);
}

void Socket::complete(model::Exchange& exchange, model::UsageStatus status) {
  const Turn* turn = find(exchange);
  if (turn == nullptr) return;
  exchange.usage_status = lossy_ ? model::UsageStatus::kIncomplete : status;
  exchange.timing.total_ns = now_ns_ - turn->start_ns;
  sink_.on_complete(exchange);
  std::erase_if(turns_, [&](const auto& one) { return one.get() == turn; });
  if (turns_.empty()) lossy_ = false;
}

}  // namespace penstock::parsers::session
