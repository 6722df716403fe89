#include "parsers/wire/websocket/websocket.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "parsers/core/limits.h"

namespace penstock::parsers::wire::websocket {
namespace {

constexpr std::uint8_t kFin = 0x80;
constexpr std::uint8_t kCompressedBit = 0x40;
constexpr std::uint8_t kReservedBits = 0x30;
constexpr std::uint8_t kMaskBit = 0x80;

bool control(Opcode opcode) { return opcode >= Opcode::kClose; }

}  // namespace

Options options_of(const http::Fields& fields) {
  Options options;
  fields.each_element("sec-websocket-extensions", [&](std::string_view element) {
    if (options.deflate) return;
    if (!http::equals_ignoring_case(http::trim(element.substr(0, element.find(';'))), "permessage-deflate")) return;
    options.deflate = true;
    // The parameters are flags, or have values that only bound the sender's window.
    for (std::size_t at = element.find(';'); at != std::string_view::npos; at = element.find(';', at)) {
      ++at;
      const std::string_view name = http::trim(element.substr(at, element.find_first_of(";=", at) - at));
      options.client_no_context_takeover |= http::equals_ignoring_case(name, "client_no_context_takeover");
      options.server_no_context_takeover |= http::equals_ignoring_case(name, "server_no_context_takeover");
    }
  });
  return options;
}

Connection::Connection(Sink& sink, Options options)
    : to_server_(Direction::kToServer, options, sink), to_client_(Direction::kToClient, options, sink) {}
void Connection::feed(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes) {
  half(direction).feed(pos, bytes);
}
void Connection::gap(Direction direction, std::uint64_t bytes) { half(direction).gap(bytes); }
void Connection::close() {
  to_server_.close();
  to_client_.close();
}

Connection::Half::Half(Direction direction, const Options& options, Sink& sink)
    : direction_(direction),
      masked_(direction == Direction::kToServer),
      deflate_(options.deflate),
      takeover_(direction == Direction::kToServer ? !options.client_no_context_takeover
                                                  : !options.server_no_context_takeover),
      sink_(sink),
      state_(options.joined ? State::kSync : State::kHead),
      window_lost_(options.joined) {}

void Connection::Half::feed(std::uint64_t pos, std::span<const std::uint8_t> bytes) {
  std::size_t i = 0;
  while (i < bytes.size()) {
    if (state_ == State::kSync) {
      sync_byte(bytes[i], pos + i + 1);
      ++i;
      continue;
    }
    if (state_ == State::kHead) {
      if (have_ == 0) frame_pos_ = pos + i;
      head_[have_++] = bytes[i++];
      if (have_ == head_size()) head(pos + i);
      continue;
    }
    const auto take = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, bytes.size() - i));
    payload(bytes.subspan(i, take));
    i += take;
    remaining_ -= take;
    if (remaining_ == 0) end_frame(pos + i);
  }
}

std::size_t Connection::Half::head_size() const {
  if (have_ < 2) return 0;
  const std::uint8_t length = head_[1] & 0x7f;
  return 2u + (length == 126 ? 2u : length == 127 ? 8u : 0u) + ((head_[1] & kMaskBit) != 0 ? 4u : 0u);
}

void Connection::Half::head(std::uint64_t after) {
  const std::size_t size = have_;
  have_ = 0;
  opcode_ = static_cast<Opcode>(head_[0] & 0x0f);
  fin_ = (head_[0] & kFin) != 0;
  const bool compressed = (head_[0] & kCompressedBit) != 0;
  const bool masked = (head_[1] & kMaskBit) != 0;
  const std::uint8_t length = head_[1] & 0x7f;
  remaining_ = length;
  if (length >= 126) {
    remaining_ = 0;
    for (std::size_t i = 2; i < (length == 126 ? 4u : 10u); ++i) remaining_ = remaining_ << 8 | head_[i];
  }
  if (masked) std::copy_n(head_.begin() + static_cast<std::ptrdiff_t>(size - 4), 4, mask_.begin());
  mask_at_ = 0;
  const bool known = opcode_ <= Opcode::kBinary || (control(opcode_) && opcode_ <= Opcode::kPong);
  if ((head_[0] & kReservedBits) != 0 || !known || masked != masked_ || (compressed && !deflate_) ||
      (remaining_ >> 63) != 0) {
    lose("broken frame");
    return;
  }
  if (control(opcode_)) {
    if (!fin_ || remaining_ > 125 || compressed) {
      lose("broken control frame");
      return;
    }
    close_have_ = 0;
  } else if (opcode_ == Opcode::kContinuation) {
    if (!in_message_ || compressed) {
      lose("continuation of nothing");
      return;
    }
  } else {
    if (in_message_) {
      lose("a message inside a message");
      return;
    }
    in_message_ = true;
    compressed_ = compressed;
    whole_ = true;
    inflated_bytes_ = 0;
    if (compressed_ && !inflater_) inflater_ = std::make_unique<inflate::RawInflater>();
    sink_.on_message_begin(direction_, opcode_, frame_pos_);
  }
  state_ = State::kPayload;
  if (remaining_ == 0) end_frame(after);
}

void Connection::Half::payload(std::span<const std::uint8_t> bytes) {
  if (!masked_) {
    content(bytes);
    return;
  }
  std::array<std::uint8_t, 4096> plain;
  while (!bytes.empty()) {
    const std::size_t size = std::min(bytes.size(), plain.size());
    // The mask turned to where the payload stands, so that whole words can be undone.
    std::array<std::uint8_t, 8> mask{};
    for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = mask_[(mask_at_ + i) % 4];
    const auto mask_word = std::bit_cast<std::uint64_t>(mask);
    std::size_t i = 0;
    for (; i + 8 <= size; i += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data() + i, 8);
      word ^= mask_word;
      std::memcpy(plain.data() + i, &word, 8);
    }
    for (; i < size; ++i) plain[i] = static_cast<std::uint8_t>(bytes[i] ^ mask[i % 8]);
    mask_at_ += size;
    content(std::span(plain).first(size));
    bytes = bytes.subspan(size);
  }
}

void Connection::Half::content(std::span<const std::uint8_t> bytes) {
  if (control(opcode_)) {
    for (std::size_t i = 0; i < bytes.size() && close_have_ < 2; ++i) close_code_[close_have_++] = bytes[i];
    return;
  }
  if (!compressed_) {
    sink_.on_message_data(direction_, bytes);
    return;
  }
  if (window_lost_) whole_ = false;
  if (!whole_) {
    window_lost_ = true;  // the window has not seen these bytes
  } else if (stopped(inflater_->feed(bytes, *this))) {
    whole_ = false;
    window_lost_ = true;
  }
}

void Connection::Half::on_inflated(std::span<const std::uint8_t> bytes) {
  inflated_bytes_ += bytes.size();
  if (inflated_bytes_ > limits::kInflatedBytes) whole_ = false;  // a bomb: what is left of it is not passed on
  if (whole_) sink_.on_message_data(direction_, bytes);
}

void Connection::Half::end_frame(std::uint64_t after) {
  state_ = State::kHead;
  if (control(opcode_)) {
    if (!in_message_) settled_pos_ = after;
    if (opcode_ == Opcode::kClose) {
      const auto code = static_cast<std::uint16_t>(close_code_[0] << 8 | close_code_[1]);
      sink_.on_close(direction_, close_have_ == 2 ? code : std::uint16_t{0});
    }
    return;
  }
  if (fin_) end_message(after);
}

void Connection::Half::end_message(std::uint64_t after) {
  if (compressed_) {
    if (whole_ && stopped(inflater_->end_message(*this))) {
      whole_ = false;
      window_lost_ = true;
    }
    if (!takeover_) {
      inflater_.reset();
      window_lost_ = false;
    }
  }
  in_message_ = false;
  settled_pos_ = after;
  sink_.on_message_end(direction_, whole_, after);
}

void Connection::Half::lose(std::string_view why) {
  sink_.on_invalid(direction_, why);
  gap(0);
}

void Connection::Half::gap(std::uint64_t bytes) {
  if (state_ == State::kPayload && bytes != 0 && bytes < remaining_) {
    remaining_ -= bytes;
    mask_at_ += bytes;
    whole_ = false;
    if (compressed_) window_lost_ = true;
    return;
  }
  window_lost_ = true;
  if (in_message_) {
    in_message_ = false;
    sink_.on_message_end(direction_, false, frame_pos_);
  }
  state_ = State::kSync;
  have_ = 0;
}

// One whole, uncompressed text frame whose content begins like a JSON object, with the shortest length encoding.
bool Connection::Half::plausible() const {
  const std::size_t size = head_size();
  if (head_[0] != (kFin | static_cast<std::uint8_t>(Opcode::kText)) || size == 0 || have_ < size + 2) return false;
  if (((head_[1] & kMaskBit) != 0) != masked_) return false;
  const std::uint8_t length = head_[1] & 0x7f;
  if (length < 2) return false;
  if (length == 126 && head_[2] == 0 && head_[3] < 126) return false;
  if (length == 127 && (head_[2] | head_[3] | head_[4] | head_[5]) != 0) return false;  // 4 GiB
  if (length == 127 && head_[6] == 0 && head_[7] == 0) return false;
  std::uint8_t first = head_[size];
  std::uint8_t second = head_[size + 1];
  if (masked_) {
    first ^= head_[size - 4];
    second ^= head_[size - 3];
  }
  return first == '{' && (second == '"' || second == ' ' || second == '\n');
}

void Connection::Half::sync_byte(std::uint8_t byte, std::uint64_t after) {
  const auto drop_first = [this] {
    // To the next byte that can begin a frame.
    std::size_t next = 1;
    while (next < have_ && head_[next] != (kFin | static_cast<std::uint8_t>(Opcode::kText))) ++next;
    std::copy(head_.begin() + static_cast<std::ptrdiff_t>(next), head_.begin() + static_cast<std::ptrdiff_t>(have_),
              head_.begin());
    have_ -= next;
  };
  head_[have_++] = byte;
  while (have_ != 0) {
    if (head_[0] != (kFin | static_cast<std::uint8_t>(Opcode::kText))) {
      drop_first();
      continue;
    }
    const std::size_t size = head_size();
    if (size == 0 || have_ < size + 2) return;
    if (!plausible()) {
      drop_first();
      continue;
    }
    const std::array<std::uint8_t, 2> beginning = {head_[size], head_[size + 1]};
    have_ = size;
    frame_pos_ = after - size - beginning.size();
    state_ = State::kHead;
    head(after - beginning.size());
    feed(after - beginning.size(), beginning);
    return;
  }
}

void Connection::Half::close() {
  if (!in_message_) return;
  in_message_ = false;
  sink_.on_message_end(direction_, false, frame_pos_);
}

}  // namespace penstock::parsers::wire::websocket
