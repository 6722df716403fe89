#include "parsers/wire/http2/http2.h"

#include "tests/fuzz/parsers/http_log.h"

using namespace penstock;
using namespace penstock::parsers;
using namespace penstock::parsers::wire;

// The rest of the input: two bytes of length, what the client sends (the preface is added), what the server sends.
void fuzz(fuzz::Input input) {
  const std::uint8_t choice = input.byte();
  const std::uint32_t seed = input.word();
  const std::size_t length = static_cast<std::size_t>(input.byte()) << 8 | input.byte();
  const std::size_t middle = std::min(length, input.rest().size());
  const bool joined = (choice & 1) != 0;
  std::string requests(joined ? std::string_view() : http2::kClientPreface);
  requests += fuzz::text(input.rest().first(middle));
  const fuzz::Bytes answers = input.rest().subspan(middle);
  const fuzz::Bytes sent(reinterpret_cast<const std::uint8_t*>(requests.data()), requests.size());
  const auto run = [&](bool cut) {
    fuzz::HttpLog log;
    http2::Connection connection(log, {.joined = joined});
    if ((choice & 2) != 0) log.adopt(1);
    if ((choice & 2) != 0) connection.adopt_upgraded(answers.first(std::min<std::size_t>(answers.size(), 12)));
    const auto feed = [&](Direction direction, std::uint64_t pos, fuzz::Bytes bytes) {
      for (const fuzz::Bytes piece : cut ? fuzz::cut(bytes, seed) : fuzz::Pieces{bytes}) {
        connection.feed(direction, pos, piece);
        pos += piece.size();
      }
    };
    // The server's SETTINGS come first or last.
    if ((choice & 4) != 0) feed(Direction::kToClient, 0, answers);
    feed(Direction::kToServer, 0, sent);
    fuzz::require(connection.settled_pos() <= sent.size(), "settled beyond the input");
    log.log().event(connection.settled_pos(), connection.request_open());
    if ((choice & 4) == 0) feed(Direction::kToClient, 0, answers);
    if ((choice & 8) != 0) {
      connection.gap(Direction::kToServer, seed % 64);
      feed(Direction::kToServer, sent.size() + seed % 64, sent);
      connection.gap(Direction::kToClient, 0);
      feed(Direction::kToClient, answers.size() + 999, answers);
    }
    connection.close();
    return log.total();
  };
  if (run(false) != run(true)) fuzz::require(false, "cutting the input changes its events");
}
