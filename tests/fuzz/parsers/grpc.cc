#include "parsers/wire/grpc/grpc.h"

#include "parsers/wire/protobuf/walker.h"
#include "tests/fuzz/parsers/harness.h"

using namespace penstock;
using namespace penstock::parsers::wire;

namespace {

struct Fields final : protobuf::Sink {
  fuzz::Log log;
  std::uint32_t choices = 0;
  protobuf::Treat on_length(protobuf::Path path, std::uint64_t length) override {
    log.event(path.back(), length);
    // By the field's number, so that it does not depend on how the input is cut.
    return static_cast<protobuf::Treat>((choices + path.back()) % 3);
  }
  void on_varint(protobuf::Path path, std::uint64_t value) override { log.event(path.back(), value); }
  void on_fixed(protobuf::Path path, std::uint64_t bits, bool is64) override {
    log.event(path.back(), bits);
    log.event(1, is64);
  }
  void on_bytes(protobuf::Path path, std::string_view piece, bool last) override {
    log.add(piece);
    if (last) log.event(2, path.size());
  }
  void on_end(protobuf::Path path) override { log.event(3, path.size()); }
};

struct Messages final : grpc::Sink {
  Fields fields;
  protobuf::Walker walker{fields};
  void on_message_begin(std::uint8_t flags, std::uint32_t length) override {
    fields.log.event(4, flags);
    fields.log.event(5, length);
    walker.reset();
  }
  void on_message_data(std::span<const std::uint8_t> bytes) override { walker.feed(fuzz::text(bytes)); }
  void on_message_end(bool whole) override {
    fields.log.event(6, whole);
    fields.log.event(7, static_cast<std::uint64_t>(walker.finish()));
  }
};

}  // namespace

void fuzz(fuzz::Input input) {
  const std::uint8_t choice = input.byte();
  const std::uint32_t seed = input.word();
  fuzz::whole_against_cut(input.rest(), seed, [&](const fuzz::Pieces& pieces) {
    if ((choice & 1) != 0) {
      Fields fields;
      fields.choices = choice;
      protobuf::Walker walker(fields);
      for (const fuzz::Bytes piece : pieces) walker.feed(fuzz::text(piece));
      fields.log.event(static_cast<std::uint64_t>(walker.finish()));
      return fields.log.value();
    }
    Messages messages;
    messages.fields.choices = choice;
    grpc::MessageReader reader("", messages);
    for (const fuzz::Bytes piece : pieces) reader.feed(piece);
    reader.gap(seed % 50);
    reader.feed(input.rest());
    reader.finish();
    return messages.fields.log.value();
  });
}
