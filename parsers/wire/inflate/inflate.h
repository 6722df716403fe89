// Content codings: gzip (any number of members), deflate (zlib and raw), br, zstd, and stacks of them. Streaming:
// whatever can be decoded from the bytes so far is delivered before feed() returns, so that server-sent events are seen
// as they come. Bounded: total output, output to input ratio (bombs), and the window (zstd 8 MiB as RFC 9659 says, br
// 16 MiB). A body that is labelled gzip or zstd and does not begin like it is passed through: labels lie.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "parsers/core/limits.h"
#include "parsers/core/parse_state.h"

namespace penstock::parsers::wire::inflate {

enum class Coding : std::uint8_t { kIdentity, kGzip, kDeflate, kBrotli, kZstd, kUnknown };
Coding coding_of(std::string_view token);  // one element of Content-Encoding

class Output {
 public:
  virtual ~Output() = default;
  virtual void on_inflated(std::span<const std::uint8_t> bytes) = 0;
};

struct Bounds {
  std::uint64_t output_bytes = limits::kInflatedBytes;
  std::uint64_t ratio = limits::kInflateRatio;
  std::uint64_t ratio_from = limits::kInflateRatioFrom;
};

namespace detail {
class Stage;
}

class Decoder {
 public:
  // `content_encoding`: the field's value ("gzip", "br, gzip"), empty for none. An unknown coding makes every feed()
  // end in kInvalid, as does a stack of more than limits::kContentCodings.
  explicit Decoder(std::string_view content_encoding, Bounds bounds = {});
  ~Decoder();
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;

  // Without any coding `bytes` are passed on as they are, not copied. After kInvalid or kLimit nothing more is
  // delivered.
  ParseState feed(std::span<const std::uint8_t> bytes, Output& output);
  // The body has ended. kDone: the coded stream had ended too; kNeedMore: it is cut.
  ParseState finish();
  bool identity() const { return stages_.empty() && state_ == ParseState::kNeedMore; }
  std::uint64_t output_bytes() const { return output_bytes_; }

 private:
  struct Link;
  ParseState run(std::size_t stage, std::span<const std::uint8_t> bytes, Output& output);
  Bounds bounds_;
  std::vector<std::unique_ptr<detail::Stage>> stages_;  // in decoding order
  ParseState state_ = ParseState::kNeedMore;
  std::uint64_t input_bytes_ = 0;
  std::uint64_t output_bytes_ = 0;
};

// Raw DEFLATE with a window that outlives messages: WebSocket's permessage-deflate.
class RawInflater {
 public:
  RawInflater();
  ~RawInflater();
  RawInflater(const RawInflater&) = delete;
  RawInflater& operator=(const RawInflater&) = delete;
  ParseState feed(std::span<const std::uint8_t> bytes, Output& output);
  // A message ended: adds the 00 00 FF FF that the sender took away.
  ParseState end_message(Output& output);
  // Forgets the window: no context takeover.
  void reset();

 private:
  std::unique_ptr<detail::Stage> stage_;
};

}  // namespace penstock::parsers::wire::inflate
