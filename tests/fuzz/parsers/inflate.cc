#include "parsers/wire/inflate/inflate.h"

#include "tests/fuzz/parsers/harness.h"

using namespace penstock;
using namespace penstock::parsers::wire;

namespace {
struct Sink final : inflate::Output {
  fuzz::Log log;
  std::uint64_t bytes = 0;
  void on_inflated(std::span<const std::uint8_t> piece) override {
    log.add(piece);
    bytes += piece.size();
  }
};
constexpr std::string_view kCodings[] = {"gzip", "deflate",  "br",         "zstd",
                                         "",     "gzip, br", "zstd, gzip", "deflate, deflate"};
constexpr std::uint64_t kBound = 1 << 20;
}  // namespace

void fuzz(fuzz::Input input) {
  const std::uint8_t choice = input.byte();
  const std::uint32_t seed = input.word();
  if ((choice & 0x80) != 0) {
    // WebSocket messages on one window.
    Sink sink;
    inflate::RawInflater inflater;
    for (const fuzz::Bytes piece :
         fuzz::cut(input.rest().first(std::min<std::size_t>(input.rest().size(), 512)), seed)) {
      if (parsers::stopped(inflater.feed(piece, sink)) || parsers::stopped(inflater.end_message(sink))) break;
    }
    return;
  }
  // A bound may fall inside a piece, and how much of a broken body comes out before the break depends on how it is cut:
  // bodies that end well must agree.
  std::uint64_t results[2];
  bool whole = true;
  for (const bool cut : {false, true}) {
    Sink sink;
    inflate::Decoder decoder(kCodings[choice % std::size(kCodings)],
                             {.output_bytes = kBound, .ratio = 200, .ratio_from = 1 << 16});
    for (const fuzz::Bytes piece : cut ? fuzz::cut(input.rest(), seed) : fuzz::Pieces{input.rest()}) {
      decoder.feed(piece, sink);
    }
    fuzz::require(sink.bytes <= kBound, "more output than allowed");
    whole &= decoder.finish() == parsers::ParseState::kDone;
    results[cut ? 1 : 0] = sink.log.value();
  }
  if (whole) fuzz::require(results[0] == results[1], "cutting the input changes its content");
}
