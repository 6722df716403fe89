// Splits one direction of an HTTP/2 connection into frames. DATA is passed on as it comes; the payload of every other
// frame is gathered, up to the bound of a head. After a hole or a broken frame it looks for the next plausible frame
// header by itself.
//
//   state    | bytes                     | next
//   ---------+---------------------------+------------------------------------
//   preface  | the client's 24 bytes     | header; a mismatch is invalid -> sync
//   header   | 9 bytes                   | payload, pad length, data, skip
//   payload  | `remaining_` bytes        | header, after on_frame
//   pad len  | 1 byte                    | data
//   data     | content, then padding     | header, after on_frame
//   skip     | a payload beyond bounds   | header
//   sync     | anything                  | payload or data at a plausible header
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "parsers/wire/http2/frame.h"

namespace penstock::parsers::wire::http2 {

inline constexpr std::string_view kClientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

class FrameReader {
 public:
  struct Events {
    virtual ~Events() = default;
    virtual void on_data(FrameReader& reader, std::uint32_t stream, std::span<const std::uint8_t> bytes,
                         std::uint64_t pos) = 0;
    // A whole frame; of DATA the content has gone by. Positions of its first byte and one past its last.
    virtual void on_frame(FrameReader& reader, const FrameHeader& header, const Payload& payload, std::uint64_t begin,
                          std::uint64_t end) = 0;
    // A frame cannot be read; with `boundary_lost` neither can what follows, until a plausible header is found.
    virtual void on_broken(FrameReader& reader, std::string_view why, bool boundary_lost) = 0;
  };

  enum class Start : std::uint8_t { kPreface, kFrame, kUnknown };
  FrameReader(bool to_server, Start start, Events& events);

  void feed(std::uint64_t pos, std::span<const std::uint8_t> bytes);
  // True: all of the missing bytes were content of one DATA frame, whose stream is data_stream().
  bool gap(std::uint64_t bytes);
  // The frame under way cannot be read in its context.
  void lose_boundary();

  void allow_frame_bytes(std::uint32_t bytes);
  bool to_server() const { return to_server_; }
  std::uint32_t data_stream() const { return header_.stream; }
  // One past the last whole frame.
  std::uint64_t boundary() const { return boundary_; }
  bool between_frames() const { return state_ == State::kHeader && have_ == 0; }

 private:
  enum class State : std::uint8_t { kPreface, kHeader, kPayload, kPadLength, kData, kPadding, kSkip, kSync };

  const std::uint8_t* step(const std::uint8_t* p, const std::uint8_t* end);
  void begin_payload(std::uint64_t after);
  void end_frame(const Payload& payload, std::uint64_t after);
  void broken(std::string_view why);
  std::uint64_t pos_of(const std::uint8_t* p) const { return pos_ + static_cast<std::uint64_t>(p - begin_); }

  const bool to_server_;
  Events& events_;
  State state_;
  std::size_t have_ = 0;  // bytes of the preface or header
  std::array<std::uint8_t, kFrameHeaderBytes> head_{};
  FrameHeader header_;
  std::uint32_t max_frame_bytes_;
  std::uint32_t remaining_ = 0;  // of the payload
  std::uint32_t padding_ = 0;
  std::uint64_t frame_pos_ = 0;
  std::uint64_t boundary_ = 0;
  std::vector<std::uint8_t> payload_;
  const std::uint8_t* begin_ = nullptr;
  std::uint64_t pos_ = 0;
};

}  // namespace penstock::parsers::wire::http2
