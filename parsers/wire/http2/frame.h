// HTTP/2 frames (RFC 9113 §4 and §6): headers, and what is wrong with them.
#pragma once

#include <cstdint>
#include <span>

namespace penstock::parsers::wire::http2 {

inline constexpr std::size_t kFrameHeaderBytes = 9;
inline constexpr std::uint32_t kDefaultFrameBytes = 16384;  // SETTINGS_MAX_FRAME_SIZE before any SETTINGS
inline constexpr std::uint32_t kMaxFrameBytes = (1u << 24) - 1;

enum class FrameType : std::uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kRstStream = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoaway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};

namespace flag {
inline constexpr std::uint8_t kEndStream = 0x1;   // DATA, HEADERS
inline constexpr std::uint8_t kAck = 0x1;         // SETTINGS, PING
inline constexpr std::uint8_t kEndHeaders = 0x4;  // HEADERS, PUSH_PROMISE, CONTINUATION
inline constexpr std::uint8_t kPadded = 0x8;      // DATA, HEADERS, PUSH_PROMISE
inline constexpr std::uint8_t kPriority = 0x20;   // HEADERS
}  // namespace flag

struct FrameHeader {
  std::uint32_t length = 0;
  FrameType type = FrameType::kData;
  std::uint8_t flags = 0;
  std::uint32_t stream = 0;
  bool has(std::uint8_t bit) const { return (flags & bit) != 0; }
};
FrameHeader read_frame_header(std::span<const std::uint8_t, kFrameHeaderBytes> bytes);

// Error codes of RFC 9113 §7.
enum class FrameError : std::uint8_t { kNone = 0, kProtocol = 1, kFrameSize = 6 };

// What can be said from the header alone.
FrameError check_header(const FrameHeader& header, std::uint32_t max_frame_bytes);

// The part of a payload that matters to an observer, without padding and priority.
struct Payload {
  std::span<const std::uint8_t> content;  // data, header block fragment, settings, debug data
  std::uint32_t promised_stream = 0;      // PUSH_PROMISE
  std::uint32_t code = 0;                 // RST_STREAM, GOAWAY; WINDOW_UPDATE: the increment
  std::uint8_t padding = 0;
};
// `bytes` is the whole payload, as long as the header says.
FrameError read_payload(const FrameHeader& header, std::span<const std::uint8_t> bytes, Payload& out);

// Whether nine bytes from the middle of a stream are likely a frame header. Deliberately narrow: it decides where
// reading goes on after bytes were lost, and text or compressed data must not pass.
bool plausible(const FrameHeader& header, bool reserved_bit, bool to_server);

}  // namespace penstock::parsers::wire::http2
