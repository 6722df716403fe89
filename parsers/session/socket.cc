#include "parsers/session/socket.h"

#include "parsers/dialects/trace.h"

namespace penstock::parsers::session {
namespace {

model::Exchange turn_of(const RequestHead& head, std::uint32_t status, const Provider& provider) {
  model::Exchange exchange;
  exchange.kind = model::Kind::kLlm;
  exchange.provider = std::string(provider.name);
  exchange.host = head.host;
  exchange.port = head.port;
  exchange.method = head.method;
  exchange.path = head.path;
  exchange.status = status;
  exchange.stream = true;
  dialects::take_traceparent(head.header("traceparent"), exchange.trace);
  return exchange;
}

}  // namespace

Socket::Socket(const RequestHead& head, std::uint32_t status, const Provider& provider,
               std::unique_ptr<Conversation> conversation, wire::websocket::Options options, ExchangeSink& sink)
    : conversation_(std::move(conversation)),
      turns_(turn_of(head, status, provider), sink),
      connection_(*this, options) {}

void Socket::feed(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes, std::uint64_t now_ns) {
  turns_.set_time(now_ns);
  connection_.feed(direction, pos, bytes);
}

void Socket::gap(Direction direction, std::uint64_t bytes) {
  turns_.lost(bytes);
  connection_.gap(direction, bytes);
}

void Socket::close(std::uint64_t now_ns) {
  turns_.set_time(now_ns);
  connection_.close();
  turns_.close();
}

void Socket::on_message_begin(Direction direction, wire::websocket::Opcode, std::uint64_t) {
  digest(direction).clear();
}

void Socket::on_message_data(Direction direction, std::span<const std::uint8_t> bytes) {
  digest(direction).feed({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

void Socket::on_message_end(Direction direction, bool whole, std::uint64_t end_pos) {
  if (direction == Direction::kToServer) turns_.set_end_pos(end_pos);
  wire::json::Digest& message = digest(direction);
  if (whole && message.finish() == ParseState::kDone) conversation_->message(direction, message.root(), turns_);
  message.clear();
}

}  // namespace penstock::parsers::session
