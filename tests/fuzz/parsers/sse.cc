#include "parsers/wire/sse/sse.h"

#include "tests/fuzz/parsers/harness.h"

using namespace penstock;
using namespace penstock::parsers::wire;

namespace {
struct Sink final : sse::Sink {
  fuzz::Log log;
  std::uint64_t bytes = 0;
  void on_data(std::string_view piece) override {
    log.add(piece);
    bytes += piece.size();
  }
  void on_field(std::string_view name, std::string_view value, bool whole) override {
    log.event(whole, name);
    log.event(1, value);
  }
  void on_event(const sse::Event& event) override {
    fuzz::require(event.data_bytes == bytes, "data bytes are miscounted");
    bytes = 0;
    log.event(2, event.type);
    log.event(3, event.id);
    log.event(4, event.data_head);
    log.event(event.has_data, event.terminated);
  }
};
}  // namespace

void fuzz(fuzz::Input input) {
  const std::uint32_t seed = input.word();
  fuzz::whole_against_cut(input.rest(), seed, [&](const fuzz::Pieces& pieces) {
    Sink sink;
    sse::Parser parser(sink);
    for (const fuzz::Bytes piece : pieces) parser.feed(fuzz::text(piece));
    if ((seed & 1) != 0) {
      parser.gap();
      sink.bytes = 0;
      for (const fuzz::Bytes piece : pieces) parser.feed(fuzz::text(piece));
    }
    parser.finish();
    (void)sse::looks_like_events(fuzz::text(input.rest()));
    return sink.log.value();
  });
}
