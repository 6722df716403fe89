#include "parsers/wire/eventstream/eventstream.h"

#include <zlib.h>

#include "tests/fuzz/parsers/harness.h"

using namespace penstock;
using namespace penstock::parsers::wire;

namespace {
struct Sink final : eventstream::Sink {
  fuzz::Log log;
  bool open = false;
  void on_message_begin(const eventstream::Headers& headers, std::uint32_t payload) override {
    fuzz::require(!open, "a message inside a message");
    open = true;
    for (const eventstream::Header& header : headers) {
      log.event(static_cast<std::uint64_t>(header.type), header.name);
      log.event(1, header.value);
    }
    log.event(2, payload);
    (void)headers.get(":event-type");
  }
  void on_payload(std::span<const std::uint8_t> bytes) override { log.add(bytes); }
  void on_message_end(bool valid) override {
    fuzz::require(open, "an end without a beginning");
    open = false;
    log.event(3, valid);
  }
};

void write32(std::vector<std::uint8_t>& bytes, std::size_t at, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
}
}  // namespace

void fuzz(fuzz::Input input) {
  const std::uint8_t choice = input.byte();
  const std::uint32_t seed = input.word();
  std::vector<std::uint8_t> bytes(input.rest().begin(), input.rest().end());
  // Checksums are put right, or nothing behind them would ever be reached.
  if ((choice & 1) != 0 && bytes.size() >= 16) {
    const auto size = static_cast<std::uint32_t>(bytes.size());
    write32(bytes, 0, size);
    write32(bytes, 4, (choice >> 1) % (size - 15));
    write32(bytes, 8, static_cast<std::uint32_t>(crc32_z(0, bytes.data(), 8)));
    write32(bytes, bytes.size() - 4, static_cast<std::uint32_t>(crc32_z(0, bytes.data(), bytes.size() - 4)));
  }
  fuzz::whole_against_cut(bytes, seed, [&](const fuzz::Pieces& pieces) {
    Sink sink;
    eventstream::Parser parser(sink);
    for (const fuzz::Bytes piece : pieces) parser.feed(piece);
    if ((seed & 1) != 0) {
      parser.gap();
      for (const fuzz::Bytes piece : pieces) parser.feed(piece);
    }
    sink.log.event(static_cast<std::uint64_t>(parser.finish()), parser.invalid_messages());
    return sink.log.value();
  });
}
