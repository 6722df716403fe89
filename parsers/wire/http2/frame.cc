#include "parsers/wire/http2/frame.h"

namespace penstock::parsers::wire::http2 {
namespace {

std::uint32_t read32(std::span<const std::uint8_t> bytes) {
  return static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
         static_cast<std::uint32_t>(bytes[2]) << 8 | bytes[3];
}
constexpr std::uint32_t kStreamMask = 0x7fffffff;

}  // namespace

FrameHeader read_frame_header(std::span<const std::uint8_t, kFrameHeaderBytes> bytes) {
  FrameHeader header;
  header.length = static_cast<std::uint32_t>(bytes[0]) << 16 | static_cast<std::uint32_t>(bytes[1]) << 8 | bytes[2];
  header.type = static_cast<FrameType>(bytes[3]);
  header.flags = bytes[4];
  header.stream = read32(bytes.subspan<5, 4>()) & kStreamMask;
  return header;
}

FrameError check_header(const FrameHeader& header, std::uint32_t max_frame_bytes) {
  if (header.length > max_frame_bytes) return FrameError::kFrameSize;
  const bool on_stream = header.stream != 0;
  switch (header.type) {
    case FrameType::kData:
    case FrameType::kHeaders:
    case FrameType::kContinuation:
      return on_stream ? FrameError::kNone : FrameError::kProtocol;
    case FrameType::kPriority:
      if (!on_stream) return FrameError::kProtocol;
      return header.length == 5 ? FrameError::kNone : FrameError::kFrameSize;
    case FrameType::kRstStream:
      if (!on_stream) return FrameError::kProtocol;
      return header.length == 4 ? FrameError::kNone : FrameError::kFrameSize;
    case FrameType::kSettings:
      if (on_stream) return FrameError::kProtocol;
      if (header.has(flag::kAck) && header.length != 0) return FrameError::kFrameSize;
      return header.length % 6 == 0 ? FrameError::kNone : FrameError::kFrameSize;
    case FrameType::kPushPromise:
      if (!on_stream) return FrameError::kProtocol;
      return header.length >= 4 ? FrameError::kNone : FrameError::kFrameSize;
    case FrameType::kPing:
      if (on_stream) return FrameError::kProtocol;
      return header.length == 8 ? FrameError::kNone : FrameError::kFrameSize;
    case FrameType::kGoaway:
      if (on_stream) return FrameError::kProtocol;
      return header.length >= 8 ? FrameError::kNone : FrameError::kFrameSize;
    case FrameType::kWindowUpdate:
      return header.length == 4 ? FrameError::kNone : FrameError::kFrameSize;
  }
  return FrameError::kNone;  // an unknown type is ignored (§5.5)
}

FrameError read_payload(const FrameHeader& header, std::span<const std::uint8_t> bytes, Payload& out) {
  out = {};
  const bool paddable =
      header.type == FrameType::kData || header.type == FrameType::kHeaders || header.type == FrameType::kPushPromise;
  if (paddable && header.has(flag::kPadded)) {
    if (bytes.empty()) return FrameError::kFrameSize;
    out.padding = bytes[0];
    bytes = bytes.subspan(1);
    if (out.padding > bytes.size()) return FrameError::kProtocol;
    bytes = bytes.first(bytes.size() - out.padding);
  }
  switch (header.type) {
    case FrameType::kHeaders:
      if (header.has(flag::kPriority)) {
        if (bytes.size() < 5) return FrameError::kFrameSize;
        bytes = bytes.subspan(5);
      }
      break;
    case FrameType::kPushPromise:
      if (bytes.size() < 4) return FrameError::kFrameSize;
      out.promised_stream = read32(bytes) & kStreamMask;
      if (out.promised_stream == 0 || out.promised_stream % 2 != 0) return FrameError::kProtocol;
      bytes = bytes.subspan(4);
      break;
    case FrameType::kRstStream:
      out.code = read32(bytes);
      break;
    case FrameType::kGoaway:
      out.code = read32(bytes.subspan(4));
      bytes = bytes.subspan(8);
      break;
    case FrameType::kWindowUpdate:
      out.code = read32(bytes) & kStreamMask;
      if (out.code == 0) return FrameError::kProtocol;
      break;
    default:
      break;
  }
  out.content = bytes;
  return FrameError::kNone;
}

bool plausible(const FrameHeader& header, bool reserved_bit, bool to_server) {
  if (reserved_bit || header.type > FrameType::kContinuation) return false;
  // Hardly anyone raises the frame size, and then to 1 MiB at most; ids grow by two per request.
  if (header.length > (1u << 20) || header.stream > (1u << 21)) return false;
  if (check_header(header, kMaxFrameBytes) != FrameError::kNone) return false;
  std::uint8_t allowed = 0;
  switch (header.type) {
    case FrameType::kData:
      allowed = flag::kEndStream | flag::kPadded;
      break;
    case FrameType::kHeaders:
      allowed = flag::kEndStream | flag::kEndHeaders | flag::kPadded | flag::kPriority;
      break;
    case FrameType::kPushPromise:
    case FrameType::kContinuation:
      return false;  // PUSH_PROMISE is gone from practice, CONTINUATION never comes first
    case FrameType::kSettings:
      allowed = flag::kAck;
      break;
    case FrameType::kPing:
      allowed = flag::kAck;
      break;
    default:
      break;
  }
  if ((header.flags & ~allowed) != 0) return false;
  if (header.type == FrameType::kData && header.length == 0 && !header.has(flag::kEndStream)) return false;
  if (header.type == FrameType::kHeaders && header.length == 0) return false;
  if (header.type == FrameType::kSettings && header.length > 6 * 16) return false;
  if (header.type == FrameType::kGoaway && to_server && header.length > 1024) return false;
  return header.stream == 0 || header.stream % 2 == 1;
}

}  // namespace penstock::parsers::wire::http2
