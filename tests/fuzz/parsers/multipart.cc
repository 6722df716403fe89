#include "parsers/wire/multipart/multipart.h"

#include "tests/fuzz/parsers/harness.h"

using namespace penstock;
using namespace penstock::parsers::wire;

namespace {
struct Sink final : multipart::Sink {
  fuzz::Log log;
  bool open = false;
  void on_part_begin(const multipart::Part& part) override {
    fuzz::require(!open, "a part inside a part");
    open = true;
    log.event(1, part.name);
    log.event(2, part.filename);
    log.event(3, part.content_type);
  }
  void on_part_data(std::string_view piece) override {
    fuzz::require(open, "data outside of a part");
    log.add(piece);
  }
  void on_part_end(bool whole) override {
    fuzz::require(open, "an end without a beginning");
    open = false;
    log.event(4, whole);
  }
};
}  // namespace

void fuzz(fuzz::Input input) {
  const std::uint32_t seed = input.word();
  const std::size_t length = input.byte() % 8;
  const std::string_view boundary = fuzz::text(input.rest()).substr(0, length);
  const fuzz::Bytes body = input.rest().subspan(boundary.size());
  if (boundary.find_first_of("\r\n") != std::string_view::npos) return;  // no Content-Type holds a line end
  fuzz::whole_against_cut(body, seed, [&](const fuzz::Pieces& pieces) {
    Sink sink;
    multipart::Parser parser(boundary, sink);
    for (const fuzz::Bytes piece : pieces) parser.feed(fuzz::text(piece));
    sink.log.event(static_cast<std::uint64_t>(parser.finish()));
    return sink.log.value();
  });
}
