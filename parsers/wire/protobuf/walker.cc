#include "parsers/wire/protobuf/walker.h"

#include <algorithm>

namespace penstock::parsers::wire::protobuf {

void Walker::reset() {
  state_ = State::kTag;
  offset_ = 0;
  number_ = 0;
  shift_ = 0;
  depth_ = 0;
}

ParseState Walker::finish() {
  if (state_ == State::kInvalid) return ParseState::kInvalid;
  return state_ == State::kTag && shift_ == 0 && depth_ == 0 ? ParseState::kDone : ParseState::kNeedMore;
}

bool Walker::varint(std::uint8_t byte) {
  if (shift_ > 63 || (shift_ == 63 && byte > 1)) {
    fail();
    return false;
  }
  number_ |= static_cast<std::uint64_t>(byte & 0x7f) << shift_;
  shift_ += 7;
  return (byte & 0x80) == 0;
}

// A value is complete; so are the messages that end with it.
void Walker::end_value() {
  state_ = State::kTag;
  number_ = 0;
  shift_ = 0;
  while (depth_ != 0 && offset_ == ends_[depth_ - 1]) {
    --depth_;
    sink_.on_end(path());
  }
}

void Walker::begin_length() {
  const std::uint64_t length = number_;
  number_ = 0;
  shift_ = 0;
  if (length > left()) {  // longer than what holds it
    fail();
    return;
  }
  const Treat treat = sink_.on_length(path(), length);
  if (treat == Treat::kEnter && depth_ < kDepth) {
    ends_[depth_++] = offset_ + length;
    end_value();  // it may be empty
    return;
  }
  remaining_ = length;
  state_ = treat == Treat::kBytes ? State::kBytes : State::kSkip;
  if (length != 0) return;
  if (treat == Treat::kBytes) sink_.on_bytes(path(), {}, true);
  end_value();
}

ParseState Walker::feed(std::string_view bytes) {
  std::size_t i = 0;
  while (i < bytes.size() && state_ != State::kInvalid) {
    const auto byte = static_cast<std::uint8_t>(bytes[i]);
    if (state_ == State::kBytes || state_ == State::kSkip) {
      const auto take = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, bytes.size() - i));
      remaining_ -= take;
      offset_ += take;
      if (state_ == State::kBytes) sink_.on_bytes(path(), bytes.substr(i, take), remaining_ == 0);
      i += take;
      if (remaining_ == 0) end_value();
      continue;
    }
    ++i;
    ++offset_;
    switch (state_) {
      case State::kTag: {
        if (!varint(byte)) break;
        const std::uint64_t field = number_ >> 3;
        const auto type = static_cast<std::uint32_t>(number_ & 7);
        number_ = 0;
        shift_ = 0;
        if (field == 0 || field > (1u << 29) - 1) {
          fail();
          break;
        }
        path_[depth_] = static_cast<std::uint32_t>(field);
        switch (type) {
          case 0:
            state_ = State::kVarint;
            break;
          case 1:
            state_ = State::kFixed;
            fixed_ = fixed_size_ = 8;
            break;
          case 2:
            state_ = State::kLength;
            break;
          case 5:
            state_ = State::kFixed;
            fixed_ = fixed_size_ = 4;
            break;
          default:
            fail();
            break;
        }
        break;
      }
      case State::kVarint:
        if (!varint(byte)) break;
        sink_.on_varint(path(), number_);
        end_value();
        break;
      case State::kLength:
        if (varint(byte)) begin_length();
        break;
      case State::kFixed:
        number_ |= static_cast<std::uint64_t>(byte) << (8 * (fixed_size_ - fixed_));
        if (--fixed_ != 0) break;
        sink_.on_fixed(path(), number_, fixed_size_ == 8);
        end_value();
        break;
      default:
        break;
    }
    // A tag or number that crosses the end of its message.
    if (state_ != State::kTag && depth_ != 0 && left() == 0 && state_ != State::kInvalid) fail();
    if (state_ == State::kTag && shift_ != 0 && depth_ != 0 && left() == 0) fail();
  }
  return state_ == State::kInvalid ? ParseState::kInvalid : ParseState::kNeedMore;
}

}  // namespace penstock::parsers::wire::protobuf
