#include "parsers/wire/eventstream/eventstream.h"

#include <algorithm>

#include "parsers/wire/eventstream/crc32.h"

namespace penstock::parsers::wire::eventstream {
namespace {

std::uint32_t read32(const std::uint8_t* p) {
  return static_cast<std::uint32_t>(p[0]) << 24 | static_cast<std::uint32_t>(p[1]) << 16 |
         static_cast<std::uint32_t>(p[2]) << 8 | p[3];
}
constexpr std::uint32_t kOverhead = 16;  // prelude and message CRC

}  // namespace

std::string_view Headers::get(std::string_view name) const {
  for (const Header& header : headers_) {
    if (header.name == name && header.type == HeaderType::kString) return header.value;
  }
  return {};
}

bool Parser::prelude_valid() {
  const std::uint32_t total = read32(head_.data());
  const std::uint32_t headers = read32(head_.data() + 4);
  if (total < kOverhead || total > limits::kEventStreamMessageBytes) return false;
  if (headers > total - kOverhead || headers > limits::kEventStreamHeaderBytes) return false;
  crc_ = crc32(0, std::span(head_).first(8));
  return crc_ == read32(head_.data() + 8);
}

// Gathers up to `size` bytes that may come in pieces.
void Parser::take_head(std::span<const std::uint8_t>& bytes, std::size_t size) {
  const std::size_t take = std::min(bytes.size(), size - have_);
  std::copy_n(bytes.begin(), take, head_.begin() + static_cast<std::ptrdiff_t>(have_));
  have_ += take;
  bytes = bytes.subspan(take);
}

ParseState Parser::feed(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    switch (state_) {
      case State::kPrelude:
        take_head(bytes, head_.size());
        if (have_ == head_.size()) {
          if (prelude_valid()) {
            prelude();
          } else {
            fail();
            have_ = head_.size();  // the next prelude may begin inside this one
          }
        }
        break;
      case State::kSync:
        std::copy(head_.begin() + 1, head_.end(), head_.begin());
        head_.back() = bytes[0];
        bytes = bytes.subspan(1);
        have_ = std::min(have_ + 1, head_.size());
        if (have_ == head_.size() && prelude_valid()) prelude();
        break;
      case State::kHeaders: {
        const std::size_t take = std::min<std::size_t>(bytes.size(), headers_bytes_ - header_bytes_.size());
        header_bytes_.insert(header_bytes_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(take));
        crc_ = crc32(crc_, bytes.first(take));
        bytes = bytes.subspan(take);
        if (header_bytes_.size() == headers_bytes_) headers_complete();
        break;
      }
      case State::kPayload: {
        const std::size_t take = std::min<std::size_t>(bytes.size(), remaining_);
        crc_ = crc32(crc_, bytes.first(take));
        sink_.on_payload(bytes.first(take));
        bytes = bytes.subspan(take);
        remaining_ -= static_cast<std::uint32_t>(take);
        if (remaining_ == 0) state_ = State::kCrc;
        break;
      }
      case State::kCrc:
        take_head(bytes, 4);
        if (have_ < 4) break;
        if (read32(head_.data()) != crc_) {
          fail();
          break;
        }
        have_ = 0;
        begun_ = false;
        state_ = State::kPrelude;
        sink_.on_message_end(true);
        break;
    }
  }
  return state_ == State::kSync ? ParseState::kInvalid : ParseState::kNeedMore;
}

void Parser::prelude() {
  const std::uint32_t total = read32(head_.data());
  headers_bytes_ = read32(head_.data() + 4);
  payload_bytes_ = total - kOverhead - headers_bytes_;
  crc_ = crc32(crc_, std::span(head_).subspan(8, 4));  // the message's covers the prelude's own
  have_ = 0;
  header_bytes_.clear();
  state_ = State::kHeaders;
  if (headers_bytes_ == 0) headers_complete();
}

void Parser::headers_complete() {
  if (!read_headers()) {
    fail();
    return;
  }
  begun_ = true;
  remaining_ = payload_bytes_;
  state_ = remaining_ == 0 ? State::kCrc : State::kPayload;
  sink_.on_message_begin(Headers(headers_), payload_bytes_);
}

bool Parser::read_headers() {
  static constexpr std::array<std::uint8_t, 10> kSizes = {0, 0, 1, 2, 4, 8, 0, 0, 8, 16};
  headers_.clear();
  std::string_view rest(reinterpret_cast<const char*>(header_bytes_.data()), header_bytes_.size());
  while (!rest.empty()) {
    const auto name_size = static_cast<std::uint8_t>(rest[0]);
    if (name_size == 0 || rest.size() < 2u + name_size) return false;
    Header header;
    header.name = rest.substr(1, name_size);
    const auto type = static_cast<std::uint8_t>(rest[1u + name_size]);
    rest.remove_prefix(2u + name_size);
    if (type >= kSizes.size()) return false;
    header.type = static_cast<HeaderType>(type);
    std::size_t size = kSizes[type];
    if (header.type == HeaderType::kBytes || header.type == HeaderType::kString) {
      if (rest.size() < 2) return false;
      size = static_cast<std::size_t>(static_cast<std::uint8_t>(rest[0])) << 8 | static_cast<std::uint8_t>(rest[1]);
      rest.remove_prefix(2);
    }
    if (rest.size() < size) return false;
    header.value = rest.substr(0, size);
    rest.remove_prefix(size);
    headers_.push_back(header);
  }
  return true;
}

void Parser::fail() {
  ++invalid_;
  state_ = State::kSync;
  have_ = 0;
  const bool begun = begun_;
  begun_ = false;
  if (begun) sink_.on_message_end(false);
}

ParseState Parser::finish() {
  if (state_ == State::kPrelude && have_ == 0) return ParseState::kDone;
  if (begun_) {
    begun_ = false;
    sink_.on_message_end(false);
  }
  return state_ == State::kSync ? ParseState::kInvalid : ParseState::kNeedMore;
}

void Parser::gap() {
  if (state_ != State::kSync) fail();
  have_ = 0;
}

}  // namespace penstock::parsers::wire::eventstream
