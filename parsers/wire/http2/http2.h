// An HTTP/2 connection, both directions: frames, header blocks over CONTINUATION, padding, SETTINGS that change the
// HPACK tables, any number of interleaved streams, RST_STREAM, trailers, interim answers, extended CONNECT; with prior
// knowledge or after an Upgrade from HTTP/1. Joined in the middle: frames are found by content, header fields that were
// indexed before are unknown ("?", and the head is marked `guessed`), streams whose request went by unseen begin with
// their answer; streams of which no head was seen are not reported. Memory: the frame and the header block being read
// (bounded), two HPACK tables, one record per open stream (bounded).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "parsers/core/parse_state.h"
#include "parsers/wire/http/message.h"
#include "parsers/wire/http2/frame_reader.h"
#include "parsers/wire/http2/hpack.h"

namespace penstock::parsers::wire::http2 {

class Connection final : private FrameReader::Events {
 public:
  explicit Connection(http::Sink& sink, http::Options options = {});

  // After `Upgrade: h2c` and 101: stream 1 is the upgraded request, whose end was seen; the sink gets its answer as
  // stream
  // 1. `settings`: the payload of the HTTP2-Settings field, decoded.
  void adopt_upgraded(std::span<const std::uint8_t> settings);

  void feed(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes);
  void gap(Direction direction, std::uint64_t bytes);
  void close();

  bool request_open() const;
  // See ConnectionParser::settled_pos.
  std::uint64_t settled_pos() const;
  std::size_t open_streams() const { return streams_.size(); }

 private:
  struct Stream {
    std::uint64_t begin_pos = 0;  // of the request's HEADERS
    bool request_head = false;
    bool request_ended = false;
    bool response_head = false;
    bool response_ended = false;
    bool connect = false;  // its request ends with its head (RFC 9113 §8.5, RFC 8441)
    bool tunnel = false;   // and was granted: DATA of both directions is the tunnel's
  };
  struct Half {
    Half(bool to_server, FrameReader::Start start, Events& events)
        : reader(to_server, start, events), hpack(start == FrameReader::Start::kUnknown) {}
    FrameReader reader;
    Hpack hpack;
    // The header block being gathered.
    bool in_block = false;
    FrameHeader block_header;
    std::uint64_t block_pos = 0;
    std::vector<std::uint8_t> block;
    // Table sizes announced by the other side that this side has not acknowledged.
    std::deque<std::optional<std::uint32_t>> announced;
  };

  void on_data(FrameReader& reader, std::uint32_t stream, std::span<const std::uint8_t> bytes,
               std::uint64_t pos) override;
  void on_frame(FrameReader& reader, const FrameHeader& header, const Payload& payload, std::uint64_t begin,
                std::uint64_t end) override;
  void on_broken(FrameReader& reader, std::string_view why, bool boundary_lost) override;

  Half& half(bool to_server) { return to_server ? to_server_ : to_client_; }
  void settings(bool to_server, std::span<const std::uint8_t> content);
  void acknowledge(Half& half);
  void begin_block(Half& half, const FrameHeader& header, const Payload& payload, std::uint64_t begin);
  void end_block(Half& half, std::uint64_t end);
  void request_block(std::uint32_t id, bool end_stream, std::uint64_t begin, std::uint64_t end);
  void response_block(std::uint32_t id, bool end_stream, std::uint64_t begin);
  void end_stream(bool to_server, std::uint32_t id, const http::Fields& trailers, std::uint64_t end);
  void reset_stream(std::uint32_t id);
  void end_response(std::uint32_t id, Stream& stream, const http::Fields& trailers, http::End end);
  Stream& open_stream(std::uint32_t id);
  void lost(bool to_server);

  http::Sink& sink_;
  Half to_server_;
  Half to_client_;
  std::unordered_map<std::uint32_t, Stream> streams_;
  bool requests_lost_;              // answers may be to requests that were not seen
  std::uint32_t last_request_ = 0;  // ids only rise (RFC 9113 §5.1.1)
  http::Fields decoded_;            // scratch of the block being decoded
};

// Whether the first bytes of a client are HTTP/2 with prior knowledge: kDone, kNeedMore or kInvalid.
ParseState sniff_preface(std::span<const std::uint8_t> bytes);

}  // namespace penstock::parsers::wire::http2
