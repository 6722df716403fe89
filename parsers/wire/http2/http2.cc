#include "parsers/wire/http2/http2.h"

#include <algorithm>

#include "parsers/core/limits.h"

namespace penstock::parsers::wire::http2 {
namespace {

constexpr std::uint16_t kSettingsHeaderTableSize = 1;
constexpr std::uint16_t kSettingsMaxFrameSize = 5;
constexpr std::size_t kUnacknowledged = 64;

}  // namespace

using http::End;

Connection::Connection(http::Sink& sink, http::Options options)
    : sink_(sink),
      to_server_(true, options.joined ? FrameReader::Start::kUnknown : FrameReader::Start::kPreface, *this),
      to_client_(false, options.joined ? FrameReader::Start::kUnknown : FrameReader::Start::kFrame, *this),
      requests_lost_(options.joined) {}

void Connection::adopt_upgraded(std::span<const std::uint8_t> content) {
  Stream& stream = streams_[1];
  stream.request_head = true;
  stream.request_ended = true;
  last_request_ = 1;
  // These settings are in force without acknowledgement (RFC 7540 §3.2.1).
  settings(true, content);
  acknowledge(to_client_);
}

void Connection::feed(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes) {
  half(direction == Direction::kToServer).reader.feed(pos, bytes);
}

void Connection::gap(Direction direction, std::uint64_t bytes) {
  const bool to_server = direction == Direction::kToServer;
  FrameReader& reader = half(to_server).reader;
  if (!reader.gap(bytes)) {
    lost(to_server);
    return;
  }
  if (streams_.contains(reader.data_stream())) sink_.on_loss(reader.data_stream(), direction, bytes);
}

// Frames of that direction were lost: any stream may miss bytes, and HPACK has lost its table.
void Connection::lost(bool to_server) {
  Half& side = half(to_server);
  side.in_block = false;
  side.block.clear();
  side.hpack.forget();
  requests_lost_ |= to_server;
  for (const auto& [id, stream] : streams_) {
    const bool open = to_server ? !stream.request_ended : !stream.response_ended;
    if (open) sink_.on_loss(id, to_server ? Direction::kToServer : Direction::kToClient, 0);
  }
}

void Connection::on_broken(FrameReader& reader, std::string_view why, bool boundary_lost) {
  sink_.on_invalid(reader.to_server() ? Direction::kToServer : Direction::kToClient, why);
  if (boundary_lost) {
    lost(reader.to_server());
  } else {
    half(reader.to_server()).hpack.forget();
  }
}

void Connection::on_data(FrameReader& reader, std::uint32_t id, std::span<const std::uint8_t> bytes,
                         std::uint64_t pos) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  const Stream& stream = found->second;
  if (stream.tunnel) {
    sink_.on_tunnel(id, reader.to_server() ? Direction::kToServer : Direction::kToClient, bytes, pos);
  } else if (reader.to_server()) {
    if (stream.request_head && !stream.request_ended) sink_.on_request_body(id, bytes, pos);
  } else if (stream.response_head && !stream.response_ended) {
    sink_.on_response_body(id, bytes, pos);
  }
}

void Connection::on_frame(FrameReader& reader, const FrameHeader& header, const Payload& payload, std::uint64_t begin,
                          std::uint64_t end) {
  const bool to_server = reader.to_server();
  Half& side = half(to_server);
  if (side.in_block && (header.type != FrameType::kContinuation || header.stream != side.block_header.stream)) {
    // RFC 9113 §6.10: nothing may come between the frames of a header block.
    reader.lose_boundary();
    on_broken(reader, "a header block that does not go on", true);
    return;
  }
  switch (header.type) {
    case FrameType::kData:
      if (header.has(flag::kEndStream)) end_stream(to_server, header.stream, {}, end);
      return;
    case FrameType::kHeaders:
    case FrameType::kPushPromise:
      begin_block(side, header, payload, begin);
      if (header.has(flag::kEndHeaders)) end_block(side, end);
      return;
    case FrameType::kContinuation:
      if (!side.in_block) {
        reader.lose_boundary();
        on_broken(reader, "CONTINUATION without HEADERS", true);
        return;
      }
      if (side.block.size() + payload.content.size() > limits::kHeadBytes) {
        reader.lose_boundary();
        on_broken(reader, "header block too large", true);
        return;
      }
      side.block.insert(side.block.end(), payload.content.begin(), payload.content.end());
      if (header.has(flag::kEndHeaders)) end_block(side, end);
      return;
    case FrameType::kRstStream:
      reset_stream(header.stream);
      return;
    case FrameType::kSettings:
      if (header.has(flag::kAck)) {
        acknowledge(side);
      } else {
        settings(to_server, payload.content);
      }
      return;
    default:
      return;
  }
}

// SETTINGS of one side bind the other: its encoder's table and its frames.
void Connection::settings(bool to_server, std::span<const std::uint8_t> content) {
  Half& bound = half(!to_server);
  std::optional<std::uint32_t> table;
  for (; content.size() >= 6; content = content.subspan(6)) {
    const auto id = static_cast<std::uint16_t>(content[0] << 8 | content[1]);
    const std::uint32_t value = static_cast<std::uint32_t>(content[2]) << 24 |
                                static_cast<std::uint32_t>(content[3]) << 16 |
                                static_cast<std::uint32_t>(content[4]) << 8 | content[5];
    if (id == kSettingsHeaderTableSize) table = value;
    if (id == kSettingsMaxFrameSize) bound.reader.allow_frame_bytes(value);
  }
  bound.announced.push_back(table);
  if (bound.announced.size() > kUnacknowledged) bound.announced.pop_front();
}

void Connection::acknowledge(Half& side) {
  if (side.announced.empty()) return;
  if (side.announced.front()) side.hpack.change_table_size(*side.announced.front());
  side.announced.pop_front();
}

void Connection::begin_block(Half& side, const FrameHeader& header, const Payload& payload, std::uint64_t begin) {
  side.in_block = true;
  side.block_header = header;
  side.block_pos = begin;
  side.block.assign(payload.content.begin(), payload.content.end());
}

void Connection::end_block(Half& side, std::uint64_t end) {
  side.in_block = false;
  const bool decoded = side.hpack.decode(side.block, decoded_);
  side.block.clear();
  if (side.block.capacity() > 4096) std::vector<std::uint8_t>().swap(side.block);
  const FrameHeader header = side.block_header;
  const bool to_server = side.reader.to_server();
  if (!decoded) {
    sink_.on_invalid(to_server ? Direction::kToServer : Direction::kToClient, "header block does not decode");
    decoded_.clear();
  }
  // A pushed answer has no request of the client's; its block only had to pass through the table.
  if (header.type == FrameType::kPushPromise || header.stream % 2 == 0) return;
  const bool end_of_stream = header.has(flag::kEndStream);
  if (to_server) {
    request_block(header.stream, end_of_stream, side.block_pos, end);
  } else {
    response_block(header.stream, end_of_stream, side.block_pos);
  }
}

Connection::Stream& Connection::open_stream(std::uint32_t id) {
  if (streams_.size() >= limits::kStreams) {
    // Ends were not seen: the oldest stream is the one least likely to be alive.
    auto oldest = std::min_element(streams_.begin(), streams_.end(),
                                   [](const auto& a, const auto& b) { return a.first < b.first; });
    const std::uint32_t oldest_id = oldest->first;
    const Stream gone = oldest->second;
    streams_.erase(oldest);
    if (!gone.response_ended) sink_.on_response_end(oldest_id, {}, End::kTruncated);
  }
  return streams_[id];
}

void Connection::request_block(std::uint32_t id, bool end_of_stream, std::uint64_t begin, std::uint64_t end) {
  const auto found = streams_.find(id);
  if (found != streams_.end()) {
    // Trailers. Or, joined late, a request that shows up behind its own answer: that stream has been reported without
    // it.
    const bool trailers = found->second.request_head && !found->second.request_ended;
    if (trailers && end_of_stream) end_stream(true, id, decoded_, end);
    last_request_ = std::max(last_request_, id);
    return;
  }
  if (id <= last_request_) {
    // A stream that is over, or was reset while its trailers were under way.
    return;
  }
  last_request_ = id;
  http::RequestHead head;
  head.version = 20;
  head.guessed = decoded_.empty();
  for (std::size_t i = 0; i < decoded_.size(); ++i) {
    const auto [name, value] = decoded_[i];
    if (name == ":method") {
      head.method = value;
    } else if (name == ":path") {
      head.target = value;
    } else if (name == ":authority") {
      head.authority = value;
    } else if (name == ":protocol") {
      head.protocol = value;
    } else if (name == kUnknownName) {
      head.guessed = true;
    } else if (!name.starts_with(':')) {
      if (name == "host" && head.authority.empty()) head.authority = value;
      head.fields.add(name, value);
    }
  }
  Stream& stream = open_stream(id);
  stream.request_head = true;
  stream.begin_pos = begin;
  stream.connect = head.method == "CONNECT";
  const bool complete = end_of_stream || stream.connect;
  sink_.on_request_head(id, head, begin);
  if (complete) end_stream(true, id, {}, end);
}

void Connection::response_block(std::uint32_t id, bool end_of_stream, std::uint64_t begin) {
  auto found = streams_.find(id);
  if (found != streams_.end() && found->second.response_head) {
    // A block behind the head is the trailers; without END_STREAM it is broken and says nothing.
    if (end_of_stream) end_stream(false, id, decoded_, 0);
    return;
  }
  http::ResponseHead head;
  head.version = 20;
  head.guessed = decoded_.empty();
  for (std::size_t i = 0; i < decoded_.size(); ++i) {
    const auto [name, value] = decoded_[i];
    if (name == ":status") {
      for (const char c : value.substr(0, 3)) {
        if (c >= '0' && c <= '9') head.status = head.status * 10 + static_cast<std::uint32_t>(c - '0');
      }
    } else if (name == kUnknownName) {
      head.guessed = true;
    } else if (!name.starts_with(':')) {
      head.fields.add(name, value);
    }
  }
  if (head.status >= 100 && head.status < 200 && !end_of_stream) {
    if (found != streams_.end()) sink_.on_interim(id, head);
    return;
  }
  // Of a stream that is over; or, without a status, the trailers of an answer whose head was not seen.
  if (found == streams_.end() && (!requests_lost_ || head.status == 0)) return;
  Stream& stream = found == streams_.end() ? open_stream(id) : found->second;
  if (!stream.request_head) stream.request_ended = true;
  stream.response_head = true;
  stream.tunnel = stream.connect && head.status >= 200 && head.status < 300;
  if (stream.tunnel) {
    sink_.on_tunnel_begin(id, head);
  } else {
    sink_.on_response_head(id, head, begin);
  }
  if (end_of_stream) end_stream(false, id, {}, 0);
}

void Connection::end_stream(bool to_server, std::uint32_t id, const http::Fields& trailers, std::uint64_t end) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  Stream& stream = found->second;
  if (!to_server) {
    end_response(id, stream, trailers, End::kComplete);
    return;
  }
  if (stream.request_ended) return;
  stream.request_ended = true;
  const bool done = stream.response_ended;
  if (done) streams_.erase(found);
  sink_.on_request_end(id, trailers, end);
}

void Connection::end_response(std::uint32_t id, Stream& stream, const http::Fields& trailers, End end) {
  if (stream.response_ended) return;
  stream.response_ended = true;
  if (stream.request_ended) streams_.erase(id);
  sink_.on_response_end(id, trailers, end);
}

void Connection::reset_stream(std::uint32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  const bool answered = found->second.response_ended;
  streams_.erase(found);
  // RFC 9113 §8.1: a server that has answered early resets what remains of the request.
  if (!answered) sink_.on_response_end(id, {}, End::kReset);
}

void Connection::close() {
  std::vector<std::uint32_t> open;
  for (const auto& [id, stream] : streams_) {
    if (!stream.response_ended) open.push_back(id);
  }
  std::sort(open.begin(), open.end());
  streams_.clear();
  for (const std::uint32_t id : open) sink_.on_response_end(id, {}, End::kTruncated);
}

bool Connection::request_open() const {
  if (to_server_.in_block || !to_server_.reader.between_frames()) return true;
  return std::any_of(streams_.begin(), streams_.end(), [](const auto& entry) { return !entry.second.request_ended; });
}

std::uint64_t Connection::settled_pos() const {
  std::uint64_t pos = to_server_.reader.boundary();
  if (to_server_.in_block) pos = std::min(pos, to_server_.block_pos);
  for (const auto& [id, stream] : streams_) {
    if (!stream.request_ended) pos = std::min(pos, stream.begin_pos);
  }
  return pos;
}

ParseState sniff_preface(std::span<const std::uint8_t> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.size() >= kClientPreface.size())
    return text.starts_with(kClientPreface) ? ParseState::kDone : ParseState::kInvalid;
  return kClientPreface.starts_with(text) ? ParseState::kNeedMore : ParseState::kInvalid;
}

}  // namespace penstock::parsers::wire::http2
