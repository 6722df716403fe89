#include "parsers/wire/json/digest.h"
#include "tests/fuzz/parsers/harness.h"

using namespace penstock;
using namespace penstock::parsers::wire;

namespace {

void walk(fuzz::Log& log, const json::Value& value, std::size_t& nodes) {
  ++nodes;
  log.event(static_cast<std::uint64_t>(value.type()), value.key());
  log.event(value.complete(), value.raw_bytes());
  log.event(value.text_bytes(), value.blob_bytes());
  log.event(value.size(), value.dropped());
  log.event(1, value.as_string().value_or(value.number_text()));
  log.event(2, value.as_uint().value_or(1));
  log.event(3, static_cast<std::uint64_t>(value.as_int().value_or(1)));
  (void)value.as_double();
  (void)value.as_count();
  for (const json::Value child : value.items()) walk(log, child, nodes);
  for (const json::Value child : value.members()) walk(log, child, nodes);
}

struct Sink final : json::ValueSink, json::StringSink {
  fuzz::Log log;
  std::size_t nodes = 0;
  void on_value(const json::Value& value) override { walk(log, value, nodes); }
  void on_string(std::string_view key, std::string_view piece, bool last) override {
    log.add(piece);
    if (last) log.event(9, key);
  }
};

constexpr std::string_view kTaps[] = {"text", "a"};

}  // namespace

void fuzz(fuzz::Input input) {
  const std::uint8_t choice = input.byte();
  const std::uint32_t seed = input.word();
  json::DigestOptions options;
  options.strict = (choice & 1) != 0;
  options.nodes = (choice & 2) != 0 ? 8 : 4096;
  options.text_bytes = (choice & 4) != 0 ? 256 : 1 << 16;
  options.string_bytes = (choice & 8) != 0 ? 4 : 512;
  fuzz::whole_against_cut(input.rest(), seed, [&](const fuzz::Pieces& pieces) {
    Sink sink;
    json::DigestOptions mine = options;
    if ((choice & 64) != 0) {
      mine.tap_keys = kTaps;
      mine.tap_key_count = std::size(kTaps);
      mine.tap = &sink;
    }
    if ((choice & 16) != 0) {
      json::Values values(mine, (choice & 32) != 0 ? json::Values::Split::kElements : json::Values::Split::kDocuments,
                          sink);
      for (const fuzz::Bytes piece : pieces) values.feed(fuzz::text(piece));
      values.finish();
      sink.log.event(values.invalid_lines());
    } else {
      json::Digest digest(mine);
      for (const fuzz::Bytes piece : pieces) digest.feed(fuzz::text(piece));
      sink.log.event(static_cast<std::uint64_t>(digest.finish()));
      walk(sink.log, digest.root(), sink.nodes);
      fuzz::require(sink.nodes <= mine.nodes + 1, "more nodes than allowed");
      digest.clear();
    }
    return sink.log.value();
  });
}
