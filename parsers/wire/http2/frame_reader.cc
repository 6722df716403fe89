#include "parsers/wire/http2/frame_reader.h"

#include <algorithm>

#include "parsers/core/limits.h"

namespace penstock::parsers::wire::http2 {

FrameReader::FrameReader(bool to_server, Start start, Events& events)
    : to_server_(to_server),
      events_(events),
      state_(start == Start::kPreface ? State::kPreface
             : start == Start::kFrame ? State::kHeader
                                      : State::kSync),
      // The SETTINGS of a connection that was joined were not seen.
      max_frame_bytes_(start == Start::kUnknown ? kMaxFrameBytes : kDefaultFrameBytes) {}

void FrameReader::allow_frame_bytes(std::uint32_t bytes) {
  max_frame_bytes_ = std::max(max_frame_bytes_, std::min(bytes, kMaxFrameBytes));
}

void FrameReader::feed(std::uint64_t pos, std::span<const std::uint8_t> bytes) {
  begin_ = bytes.data();
  pos_ = pos;
  const std::uint8_t* p = begin_;
  const std::uint8_t* const end = p + bytes.size();
  while (p != end) p = step(p, end);
}

const std::uint8_t* FrameReader::step(const std::uint8_t* p, const std::uint8_t* end) {
  const auto available = static_cast<std::size_t>(end - p);
  switch (state_) {
    case State::kPreface:
      if (*p != static_cast<std::uint8_t>(kClientPreface[have_])) {
        broken("no HTTP/2 preface");
        return p;
      }
      if (++have_ == kClientPreface.size()) {
        have_ = 0;
        state_ = State::kHeader;
        boundary_ = pos_of(p + 1);
      }
      return p + 1;
    case State::kHeader:
      if (have_ == 0) frame_pos_ = pos_of(p);
      head_[have_++] = *p++;
      if (have_ < kFrameHeaderBytes) return p;
      have_ = 0;
      header_ = read_frame_header(head_);
      begin_payload(pos_of(p));
      return p;
    case State::kSync: {
      std::copy(head_.begin() + 1, head_.end(), head_.begin());
      head_.back() = *p++;
      have_ = std::min(have_ + 1, kFrameHeaderBytes);
      if (have_ < kFrameHeaderBytes || head_[3] > 9) return p;
      header_ = read_frame_header(head_);
      if (!plausible(header_, (head_[5] & 0x80) != 0, to_server_)) return p;
      have_ = 0;
      frame_pos_ = pos_of(p) - kFrameHeaderBytes;
      begin_payload(pos_of(p));
      return p;
    }
    case State::kPayload: {
      const std::size_t take = std::min<std::size_t>(available, remaining_);
      remaining_ -= static_cast<std::uint32_t>(take);
      std::span<const std::uint8_t> whole(p, take);
      if (!payload_.empty() || remaining_ != 0) {  // it came in more than one piece
        payload_.insert(payload_.end(), p, p + take);
        whole = payload_;
      }
      p += take;
      if (remaining_ != 0) return p;
      Payload payload;
      if (read_payload(header_, whole, payload) != FrameError::kNone) {
        broken("broken frame");
        return p;
      }
      end_frame(payload, pos_of(p));
      return p;
    }
    case State::kPadLength:
      padding_ = *p++;
      --remaining_;
      if (padding_ > remaining_) {
        broken("more padding than frame");
        return p;
      }
      state_ = State::kData;
      if (remaining_ == 0) end_frame({}, pos_of(p));
      return p;
    case State::kData: {
      const std::size_t content = remaining_ - padding_;
      const std::size_t take = std::min(available, content);
      if (take != 0) events_.on_data(*this, header_.stream, {p, take}, pos_of(p));
      remaining_ -= static_cast<std::uint32_t>(take);
      p += take;
      if (remaining_ == padding_) state_ = State::kPadding;
      if (remaining_ == 0) end_frame({}, pos_of(p));
      return p;
    }
    case State::kPadding:
    case State::kSkip: {
      const std::size_t take = std::min<std::size_t>(available, remaining_);
      remaining_ -= static_cast<std::uint32_t>(take);
      p += take;
      if (remaining_ != 0) return p;
      if (state_ == State::kPadding) {
        end_frame({}, pos_of(p));
      } else {
        state_ = State::kHeader;
        boundary_ = pos_of(p);
      }
      return p;
    }
  }
  return end;
}

void FrameReader::begin_payload(std::uint64_t after) {
  if (check_header(header_, max_frame_bytes_) != FrameError::kNone) {
    broken("broken frame header");
    return;
  }
  remaining_ = header_.length;
  padding_ = 0;
  payload_.clear();
  if (header_.type == FrameType::kData) {
    if (header_.has(flag::kPadded)) {
      if (remaining_ == 0) {
        broken("padding without a length");
        return;
      }
      state_ = State::kPadLength;
    } else {
      state_ = State::kData;
      if (remaining_ == 0) end_frame({}, after);
    }
    return;
  }
  const bool known = header_.type <= FrameType::kContinuation;
  if (known && header_.length <= limits::kHeadBytes) {
    state_ = State::kPayload;
    if (remaining_ == 0) {
      Payload payload;
      if (read_payload(header_, {}, payload) != FrameError::kNone) {
        broken("broken frame");
      } else {
        end_frame(payload, after);
      }
    }
    return;
  }
  if (known) events_.on_broken(*this, "frame too large", false);
  state_ = State::kSkip;
  if (remaining_ == 0) {
    state_ = State::kHeader;
    boundary_ = after;
  }
}

void FrameReader::end_frame(const Payload& payload, std::uint64_t after) {
  state_ = State::kHeader;
  const std::uint64_t begin = frame_pos_;
  boundary_ = after;
  events_.on_frame(*this, header_, payload, begin, after);
  payload_.clear();
  if (payload_.capacity() > 4096) std::vector<std::uint8_t>().swap(payload_);
}

void FrameReader::broken(std::string_view why) {
  lose_boundary();
  events_.on_broken(*this, why, true);
}

void FrameReader::lose_boundary() {
  state_ = State::kSync;
  have_ = 0;
  payload_.clear();
}

bool FrameReader::gap(std::uint64_t bytes) {
  if (state_ == State::kData && bytes != 0 && bytes < remaining_ - padding_) {
    remaining_ -= static_cast<std::uint32_t>(bytes);
    return true;
  }
  lose_boundary();
  return false;
}

}  // namespace penstock::parsers::wire::http2
