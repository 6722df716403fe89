#include "parsers/wire/inflate/inflate.h"

#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "parsers/wire/http/message.h"

namespace penstock::parsers::wire::inflate {
namespace detail {

constexpr std::size_t kBufferBytes = 16 * 1024;

// Returns false when no more output is wanted.
using Write = bool (*)(void* context, std::span<const std::uint8_t> bytes);

class Stage {
 public:
  virtual ~Stage() = default;
  virtual ParseState feed(std::span<const std::uint8_t> bytes, Write write, void* context) = 0;
  // True when the coded stream has come to its end (or there was nothing of it).
  virtual bool ended() const = 0;
};

}  // namespace detail

namespace {

using detail::kBufferBytes;
using detail::Stage;
using detail::Write;

// gzip, zlib or raw DEFLATE.
class Zlib final : public Stage {
 public:
  enum class Kind : std::uint8_t { kGzip, kDeflate, kRaw };
  explicit Zlib(Kind kind) : kind_(kind) {}
  ~Zlib() override {
    if (ready_) inflateEnd(&stream_);
  }

  ParseState feed(std::span<const std::uint8_t> bytes, Write write, void* context) override {
    if (bytes.empty()) return ParseState::kNeedMore;
    // The first two bytes tell gzip from what is no gzip, and zlib from raw DEFLATE.
    std::array<std::uint8_t, 2> first{};
    if (!ready_ && !passthrough_) {
      if (kind_ == Kind::kRaw) {
        if (!begin(-MAX_WBITS)) return ParseState::kLimit;
      } else {
        if (!have_first_ && bytes.size() == 1) {
          first_ = bytes[0];
          have_first_ = true;
          return ParseState::kNeedMore;
        }
        first = have_first_ ? std::array{first_, bytes[0]} : std::array{bytes[0], bytes[1]};
        if (kind_ == Kind::kGzip) {
          passthrough_ = first[0] != 0x1f || first[1] != 0x8b;
          if (!passthrough_ && !begin(MAX_WBITS + 16)) return ParseState::kLimit;
        } else {
          const bool zlib = (first[0] & 0x0f) == 8 && ((first[0] << 8) | first[1]) % 31 == 0;
          if (!begin(zlib ? MAX_WBITS : -MAX_WBITS)) return ParseState::kLimit;
        }
        if (have_first_) {
          have_first_ = false;
          const std::uint8_t byte = first_;
          const ParseState state = run({&byte, 1}, write, context);
          if (stopped(state)) return state;
        }
      }
    }
    return run(bytes, write, context);
  }

  bool ended() const override { return passthrough_ || !ready_ || ended_; }

  void reset() {
    if (ready_) inflateReset(&stream_);
    ended_ = false;
  }

 private:
  bool begin(int window_bits) {
    ready_ = inflateInit2(&stream_, window_bits) == Z_OK;
    return ready_;
  }

  // RFC 7692 §7.2.3.4: a message may hold a final block, and the next one may still refer to the bytes before it.
  void restart_with_window() {
    std::array<Bytef, 32768> window{};
    uInt size = 0;
    inflateGetDictionary(&stream_, window.data(), &size);
    inflateReset(&stream_);
    inflateSetDictionary(&stream_, window.data(), size);
  }

  ParseState run(std::span<const std::uint8_t> bytes, Write write, void* context) {
    if (passthrough_) return write(context, bytes) ? ParseState::kNeedMore : ParseState::kLimit;
    std::uint8_t buffer[kBufferBytes];
    while (true) {
      if (ended_) {
        if (bytes.empty()) return ParseState::kDone;
        if (kind_ == Kind::kRaw) {
          restart_with_window();
        } else if (kind_ == Kind::kGzip && bytes[0] == 0x1f) {
          inflateReset(&stream_);  // another gzip member
        } else {
          return ParseState::kDone;  // padding that nobody reads
        }
        ended_ = false;
      }
      const auto chunk = static_cast<uInt>(std::min<std::size_t>(bytes.size(), 1u << 30));
      stream_.next_in = const_cast<Bytef*>(bytes.data());  // zlib's signature; it does not write
      stream_.avail_in = chunk;
      stream_.next_out = buffer;
      stream_.avail_out = kBufferBytes;
      const int status = ::inflate(&stream_, Z_SYNC_FLUSH);
      bytes = bytes.subspan(chunk - stream_.avail_in);
      const std::size_t made = kBufferBytes - stream_.avail_out;
      if (made != 0 && !write(context, {buffer, made})) return ParseState::kLimit;
      if (status == Z_STREAM_END) {
        ended_ = true;
        if (bytes.empty()) return ParseState::kNeedMore;
        continue;
      }
      if (status != Z_OK && status != Z_BUF_ERROR) return ParseState::kInvalid;
      if (bytes.empty() && stream_.avail_out != 0) return ParseState::kNeedMore;
      if (status == Z_BUF_ERROR && made == 0) return bytes.empty() ? ParseState::kNeedMore : ParseState::kInvalid;
    }
  }

  Kind kind_;
  bool ready_ = false;
  bool ended_ = false;
  bool passthrough_ = false;
  bool have_first_ = false;
  std::uint8_t first_ = 0;
  z_stream stream_{};
};

class Brotli final : public Stage {
 public:
  Brotli() : decoder_(BrotliDecoderCreateInstance(nullptr, nullptr, nullptr)) {}
  ~Brotli() override { BrotliDecoderDestroyInstance(decoder_); }

  ParseState feed(std::span<const std::uint8_t> bytes, Write write, void* context) override {
    if (ended_) return ParseState::kDone;
    any_ |= !bytes.empty();
    std::uint8_t buffer[kBufferBytes];
    const std::uint8_t* next_in = bytes.data();
    std::size_t available_in = bytes.size();
    while (true) {
      std::uint8_t* next_out = buffer;
      std::size_t available_out = kBufferBytes;
      const BrotliDecoderResult result =
          BrotliDecoderDecompressStream(decoder_, &available_in, &next_in, &available_out, &next_out, nullptr);
      const std::size_t made = kBufferBytes - available_out;
      if (made != 0 && !write(context, {buffer, made})) return ParseState::kLimit;
      if (result == BROTLI_DECODER_RESULT_ERROR) return ParseState::kInvalid;
      if (result == BROTLI_DECODER_RESULT_SUCCESS) {
        ended_ = true;
        return ParseState::kNeedMore;
      }
      if (result == BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT) return ParseState::kNeedMore;
    }
  }
  bool ended() const override { return ended_ || !any_; }

 private:
  BrotliDecoderState* decoder_;
  bool ended_ = false;
  bool any_ = false;
};

class Zstd final : public Stage {
 public:
  Zstd() : stream_(ZSTD_createDStream()) { ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, 23); }
  ~Zstd() override { ZSTD_freeDStream(stream_); }

  ParseState feed(std::span<const std::uint8_t> bytes, Write write, void* context) override {
    if (!checked_) {
      while (magic_size_ < 4 && !bytes.empty()) {
        magic_[magic_size_++] = bytes[0];
        bytes = bytes.subspan(1);
      }
      if (magic_size_ < 4) return ParseState::kNeedMore;
      checked_ = true;
      // A frame, or a skippable one (5x 2A 4D 18).
      const bool frame = std::memcmp(magic_, "\x28\xb5\x2f\xfd", 4) == 0 ||
                         ((magic_[0] & 0xf0) == 0x50 && std::memcmp(magic_ + 1, "\x2a\x4d\x18", 3) == 0);
      passthrough_ = !frame;
      const ParseState state = run({magic_, 4}, write, context);
      if (stopped(state)) return state;
    }
    return run(bytes, write, context);
  }
  bool ended() const override { return passthrough_ || (!checked_ && magic_size_ == 0) || ended_; }

 private:
  ParseState run(std::span<const std::uint8_t> bytes, Write write, void* context) {
    if (passthrough_) {
      return bytes.empty() || write(context, bytes) ? ParseState::kNeedMore : ParseState::kLimit;
    }
    std::uint8_t buffer[kBufferBytes];
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    while (true) {
      ZSTD_outBuffer out{buffer, kBufferBytes, 0};
      const std::size_t before = in.pos;
      const std::size_t result = ZSTD_decompressStream(stream_, &out, &in);
      if (ZSTD_isError(result) != 0) return ParseState::kInvalid;
      if (out.pos != 0 || in.pos != before) ended_ = result == 0;
      if (out.pos != 0 && !write(context, {buffer, out.pos})) return ParseState::kLimit;
      if (in.pos == in.size && out.pos < out.size) return ParseState::kNeedMore;
      if (out.pos == 0 && in.pos == before) return ParseState::kInvalid;
    }
  }

  ZSTD_DStream* stream_;
  bool checked_ = false;
  bool passthrough_ = false;
  bool ended_ = false;
  std::size_t magic_size_ = 0;
  std::uint8_t magic_[4]{};
};

}  // namespace

Coding coding_of(std::string_view token) {
  const std::string_view name = http::trim(token);
  const auto is = [name](std::string_view coding) { return http::equals_ignoring_case(name, coding); };
  if (name.empty() || is("identity")) return Coding::kIdentity;
  if (is("gzip") || is("x-gzip")) return Coding::kGzip;
  if (is("deflate")) return Coding::kDeflate;
  if (is("br")) return Coding::kBrotli;
  if (is("zstd")) return Coding::kZstd;
  return Coding::kUnknown;
}

Decoder::Decoder(std::string_view content_encoding, Bounds bounds) : bounds_(bounds) {
  while (true) {
    const std::size_t comma = content_encoding.find(',');
    switch (coding_of(content_encoding.substr(0, comma))) {
      case Coding::kIdentity:
        break;
      case Coding::kGzip:
        stages_.push_back(std::make_unique<Zlib>(Zlib::Kind::kGzip));
        break;
      case Coding::kDeflate:
        stages_.push_back(std::make_unique<Zlib>(Zlib::Kind::kDeflate));
        break;
      case Coding::kBrotli:
        stages_.push_back(std::make_unique<Brotli>());
        break;
      case Coding::kZstd:
        stages_.push_back(std::make_unique<Zstd>());
        break;
      case Coding::kUnknown:
        state_ = ParseState::kInvalid;
        break;
    }
    if (stages_.size() > limits::kContentCodings) {
      state_ = ParseState::kLimit;
      break;
    }
    if (comma == std::string_view::npos) break;
    content_encoding.remove_prefix(comma + 1);
  }
  // The last coding named was applied last.
  std::reverse(stages_.begin(), stages_.end());
}

Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

// Passes the output of one stage to the next, or out.
struct Decoder::Link {
  Decoder* decoder;
  std::size_t stage;
  Output* output;
  ParseState state = ParseState::kNeedMore;
  static bool write(void* context, std::span<const std::uint8_t> bytes) {
    auto& link = *static_cast<Link*>(context);
    link.state = link.decoder->run(link.stage + 1, bytes, *link.output);
    return !stopped(link.state);
  }
};

ParseState Decoder::run(std::size_t stage, std::span<const std::uint8_t> bytes, Output& output) {
  if (stage == stages_.size()) {
    output_bytes_ += bytes.size();
    if (output_bytes_ > bounds_.output_bytes ||
        (output_bytes_ > bounds_.ratio_from && output_bytes_ / bounds_.ratio > input_bytes_)) {
      return ParseState::kLimit;
    }
    output.on_inflated(bytes);
    return ParseState::kNeedMore;
  }
  Link link{this, stage, &output};
  const ParseState state = stages_[stage]->feed(bytes, &Link::write, &link);
  return stopped(link.state) ? link.state : state;
}

ParseState Decoder::feed(std::span<const std::uint8_t> bytes, Output& output) {
  if (stopped(state_)) return state_;
  if (bytes.empty()) return state_;
  input_bytes_ += bytes.size();
  state_ = run(0, bytes, output);
  return state_;
}

ParseState Decoder::finish() {
  if (stopped(state_)) return state_;
  for (const auto& stage : stages_) {
    if (!stage->ended()) return ParseState::kNeedMore;
  }
  return ParseState::kDone;
}

namespace {
bool write_through(void* context, std::span<const std::uint8_t> bytes) {
  static_cast<Output*>(context)->on_inflated(bytes);
  return true;
}
}  // namespace

RawInflater::RawInflater() : stage_(std::make_unique<Zlib>(Zlib::Kind::kRaw)) {}
RawInflater::~RawInflater() = default;
ParseState RawInflater::feed(std::span<const std::uint8_t> bytes, Output& output) {
  return stage_->feed(bytes, &write_through, &output);
}
ParseState RawInflater::end_message(Output& output) {
  static constexpr std::uint8_t kTail[] = {0, 0, 0xff, 0xff};
  if (stage_->ended()) return ParseState::kDone;  // the message ended with a final block and nothing behind it
  return stage_->feed(kTail, &write_through, &output);
}
void RawInflater::reset() { static_cast<Zlib&>(*stage_).reset(); }

}  // namespace penstock::parsers::wire::inflate
