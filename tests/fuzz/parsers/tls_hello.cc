#include "parsers/wire/tls_hello/tls_hello.h"

#include "parsers/wire/tls_hello/testing.h"
#include "tests/fuzz/parsers/harness.h"

using namespace penstock;
using namespace penstock::parsers::wire;

namespace {
std::uint64_t read(const fuzz::Pieces& pieces) {
  tls_hello::FirstBytes first;
  std::uint64_t at = 0;
  for (const fuzz::Bytes piece : pieces) {
    first.feed(at, piece);
    at += piece.size();
    fuzz::require(first.handshake_bytes() + first.application_bytes() <= first.seen_bytes(), "more than was fed");
  }
  first.finish();
  fuzz::Log log;
  log.event(first.handshake_bytes(), first.application_bytes());
  log.event(first.broken());
  if (const auto& hello = first.hello()) {
    fuzz::require(hello->server_name.size() <= 255 && hello->alpn.size() <= 300, "unbounded");
    log.event(1, hello->server_name);
    log.event(2, hello->alpn);
    log.event(3, (hello->ech ? 1u : 0u) | (hello->early_data ? 2u : 0u) | (hello->whole ? 4u : 0u));
  }
  return log.value();
}
}  // namespace

void fuzz(fuzz::Input input) {
  const std::uint8_t choice = input.byte();
  const std::uint32_t seed = input.word();
  const std::string_view rest = fuzz::text(input.rest());
  // As it is, or where it counts: as extensions of a well-formed hello.
  std::string stream(rest);
  if ((choice & 1) != 0)
    stream = tls_hello::testing::record(0x16, tls_hello::testing::client_hello(rest.substr(0, 16000)));
  fuzz::whole_against_cut({reinterpret_cast<const std::uint8_t*>(stream.data()), stream.size()}, seed, read);
}
