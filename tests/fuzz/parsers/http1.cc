#include "parsers/wire/http1/http1.h"

#include "tests/fuzz/parsers/http_log.h"

using namespace penstock;
using namespace penstock::parsers;
using namespace penstock::parsers::wire;

// The rest of the input: what the client sends, a zero byte pair, what the server sends.
void fuzz(fuzz::Input input) {
  const std::uint8_t choice = input.byte();
  const std::uint32_t seed = input.word();
  const std::string_view all = fuzz::text(input.rest());
  const std::size_t middle = std::min(all.find(std::string_view("\0\0", 2)), all.size());
  const fuzz::Bytes requests = input.rest().first(middle);
  const fuzz::Bytes answers = input.rest().subspan(std::min(middle + 2, all.size()));
  const http::Options options{.joined = (choice & 1) != 0, .bare_line_feed = (choice & 2) != 0};
  const auto run = [&](bool cut) {
    fuzz::HttpLog log;
    http1::Connection connection(log, options);
    const auto feed = [&](Direction direction, fuzz::Bytes bytes) {
      std::uint64_t pos = 0;
      for (const fuzz::Bytes piece : cut ? fuzz::cut(bytes, seed) : fuzz::Pieces{bytes}) {
        connection.feed(direction, pos, piece);
        pos += piece.size();
      }
      return pos;
    };
    std::uint64_t pos = feed(Direction::kToServer, requests);
    fuzz::require(connection.settled_pos() <= pos, "settled beyond the input");
    log.log().event(connection.settled_pos(), connection.request_open());
    feed(Direction::kToClient, answers);
    if ((choice & 4) != 0) {  // a hole, and what follows it
      connection.gap(Direction::kToServer, seed % 64);
      connection.feed(Direction::kToServer, pos + seed % 64, requests);
      connection.gap(Direction::kToClient, seed % 128);
      connection.feed(Direction::kToClient, answers.size() + seed % 128, answers);
    }
    connection.close();
    return log.total();
  };
  if (run(false) != run(true)) fuzz::require(false, "cutting the input changes its events");
}
