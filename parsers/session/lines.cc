#include "parsers/session/lines.h"

#include <algorithm>

namespace penstock::parsers::session {
namespace {

model::Exchange message_of(const Endpoint& endpoint, const AgentProtocol& protocol) {
  model::Exchange exchange;
  exchange.kind = protocol.kind;
  exchange.host = endpoint.host;
  return exchange;
}

}  // namespace

ParseState sniff_line(std::span<const std::uint8_t> bytes) {
  for (const std::uint8_t byte : bytes) {
    if (byte == '{' || byte == '[') return ParseState::kDone;
    if (byte != ' ' && byte != '\t' && byte != '\r' && byte != '\n') return ParseState::kInvalid;
  }
  return ParseState::kNeedMore;
}

Lines::Lines(const Endpoint& endpoint, const AgentProtocol& protocol, std::unique_ptr<Conversation> conversation,
             ExchangeSink& sink)
    : conversation_(std::move(conversation)), turns_(message_of(endpoint, protocol), sink) {}

void Lines::feed(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes, std::uint64_t now_ns) {
  turns_.set_time(now_ns);
  Half& half = this->half(direction);
  std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  while (!text.empty()) {
    const std::size_t size = std::min(text.find('\n'), text.size());
    if (size != 0) {
      half.open = true;
      if (!half.skip) half.line.feed(text.substr(0, size));
    }
    const bool ended = size != text.size();
    pos += size + (ended ? 1 : 0);
    text.remove_prefix(size + (ended ? 1 : 0));
    if (ended) end_line(direction, pos);
  }
}

void Lines::end_line(Direction direction, std::uint64_t end_pos) {
  Half& half = this->half(direction);
  if (direction == Direction::kToServer) {
    settled_pos_ = end_pos;
    turns_.set_end_pos(end_pos);
  }
  if (half.open && !half.skip && half.line.finish() == ParseState::kDone)
    conversation_->message(direction, half.line.root(), turns_);
  half.line.clear();
  half.open = false;
  half.skip = false;
}

void Lines::gap(Direction direction, std::uint64_t bytes) {
  turns_.lost(bytes);
  half(direction).skip = true;
}

void Lines::close(std::uint64_t now_ns) {
  turns_.set_time(now_ns);
  turns_.close();
}

}  // namespace penstock::parsers::session
