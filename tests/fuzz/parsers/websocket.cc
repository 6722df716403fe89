#include "parsers/wire/websocket/websocket.h"

#include "tests/fuzz/parsers/harness.h"

using namespace penstock;
using namespace penstock::parsers;
using namespace penstock::parsers::wire;

namespace {
struct Sink final : websocket::Sink {
  fuzz::Log log;
  bool open[2] = {false, false};
  void on_message_begin(Direction direction, websocket::Opcode opcode, std::uint64_t pos) override {
    bool& mine = open[static_cast<int>(direction)];
    fuzz::require(!mine, "a message inside a message");
    mine = true;
    log.event(static_cast<std::uint64_t>(opcode), pos);
  }
  void on_message_data(Direction direction, std::span<const std::uint8_t> bytes) override {
    fuzz::require(open[static_cast<int>(direction)], "data outside of a message");
    log.add(bytes);
  }
  void on_message_end(Direction direction, bool whole, std::uint64_t end) override {
    bool& mine = open[static_cast<int>(direction)];
    fuzz::require(mine, "an end without a beginning");
    mine = false;
    log.event(whole, end);
  }
  void on_close(Direction, std::uint16_t code) override { log.event(7, code); }
  void on_invalid(Direction, std::string_view why) override { log.event(8, why); }
};
}  // namespace

void fuzz(fuzz::Input input) {
  const std::uint8_t choice = input.byte();
  const std::uint32_t seed = input.word();
  const Direction direction = (choice & 1) != 0 ? Direction::kToServer : Direction::kToClient;
  const websocket::Options options{.joined = (choice & 2) != 0,
                                   .deflate = (choice & 4) != 0,
                                   .client_no_context_takeover = (choice & 8) != 0,
                                   .server_no_context_takeover = (choice & 8) != 0};
  const bool compare = !options.deflate;  // how much a broken stream yields depends on how it is cut
  std::uint64_t results[2];
  for (const bool cut : {false, true}) {
    Sink sink;
    websocket::Connection connection(sink, options);
    std::uint64_t pos = 0;
    for (const fuzz::Bytes piece : cut ? fuzz::cut(input.rest(), seed) : fuzz::Pieces{input.rest()}) {
      connection.feed(direction, pos, piece);
      pos += piece.size();
    }
    fuzz::require(connection.settled_pos() <= pos, "settled beyond the input");
    if ((choice & 16) != 0) {
      connection.gap(direction, seed % 100);
      connection.feed(direction, pos + seed % 100, input.rest());
    }
    connection.close();
    results[cut ? 1 : 0] = sink.log.value();
  }
  if (compare) fuzz::require(results[0] == results[1], "cutting the input changes its events");
}
