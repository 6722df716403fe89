#include "parsers/wire/grpc/grpc.h"

#include <algorithm>

namespace penstock::parsers::wire::grpc {

ParseState MessageReader::feed(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty() && !invalid_) {
    if (!in_message_) {
      head_[have_++] = bytes[0];
      bytes = bytes.subspan(1);
      if (have_ == sizeof head_) begin();
      continue;
    }
    const std::size_t take = std::min<std::size_t>(bytes.size(), remaining_);
    content(bytes.first(take));
    bytes = bytes.subspan(take);
    remaining_ -= static_cast<std::uint32_t>(take);
    if (remaining_ == 0) end();
  }
  return invalid_ ? ParseState::kInvalid : ParseState::kNeedMore;
}

void MessageReader::begin() {
  have_ = 0;
  const std::uint8_t flags = head_[0];
  if ((flags & ~(kCompressed | kConnectEnd | kWebTrailers)) != 0) {
    invalid_ = true;
    return;
  }
  remaining_ = static_cast<std::uint32_t>(head_[1]) << 24 | static_cast<std::uint32_t>(head_[2]) << 16 |
               static_cast<std::uint32_t>(head_[3]) << 8 | head_[4];
  in_message_ = true;
  whole_ = true;
  decoder_.reset();
  if ((flags & kCompressed) != 0) decoder_.emplace(encoding_);
  sink_.on_message_begin(flags, remaining_);
  if (remaining_ == 0) end();
}

void MessageReader::content(std::span<const std::uint8_t> bytes) {
  if (!decoder_) {
    sink_.on_message_data(bytes);
  } else if (stopped(decoder_->feed(bytes, *this))) {
    whole_ = false;
  }
}

void MessageReader::end() {
  if (decoder_ && decoder_->finish() != ParseState::kDone) whole_ = false;
  decoder_.reset();
  in_message_ = false;
  sink_.on_message_end(whole_);
}

void MessageReader::finish() {
  if (!in_message_) return;
  whole_ = false;
  end();
}

void MessageReader::gap(std::uint64_t bytes) {
  if (in_message_ && bytes != 0 && bytes < remaining_) {
    remaining_ -= static_cast<std::uint32_t>(bytes);
    whole_ = false;
    // What comes behind the hole cannot be inflated.
    if (decoder_) decoder_.emplace("lost");
    return;
  }
  finish();
  invalid_ = true;
}

}  // namespace penstock::parsers::wire::grpc
