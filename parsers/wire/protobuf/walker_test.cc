#include "parsers/wire/protobuf/walker.h"

#include <gtest/gtest.h>

#include "parsers/wire/testing.h"

namespace penstock::parsers::wire::protobuf {
namespace {

using testing::feed_every_way;
using testing::Pieces;

// Fields 1 and 3 are messages, 2 is bytes, 9 is skipped.
struct Log : Sink {
  std::string out;
  bool open = false;
  static std::string name(Path path) {
    std::string text;
    for (const std::uint32_t n : path) text += (text.empty() ? "" : ".") + std::to_string(n);
    return text;
  }
  Treat on_length(Path path, std::uint64_t length) override {
    if (path.back() == 9) return Treat::kSkip;
    if (path.back() == 2) return Treat::kBytes;
    out += name(path) + "(" + std::to_string(length) + "){ ";
    return Treat::kEnter;
  }
  void on_varint(Path path, std::uint64_t value) override { out += name(path) + "=" + std::to_string(value) + " "; }
  void on_fixed(Path path, std::uint64_t bits, bool is64) override {
    out += name(path) + (is64 ? "=f64:" : "=f32:") + std::to_string(bits) + " ";
  }
  void on_bytes(Path path, std::string_view piece, bool last) override {
    if (!open) out += name(path) + "='";
    open = !last;
    out += piece;
    if (last) out += "' ";
  }
  void on_end(Path path) override { out += "}" + name(path) + " "; }
};

std::string walk(std::string_view message) {
  return feed_every_way(message, [](const Pieces& pieces) {
    Log log;
    Walker walker(log);
    for (const std::string_view piece : pieces) walker.feed(piece);
    const ParseState end = walker.finish();
    return log.out + (end == ParseState::kDone ? "done" : end == ParseState::kInvalid ? "invalid" : "open");
  });
}

TEST(ProtobufWalker, EveryWireType) {
  EXPECT_EQ(walk(std::string("\x20\x96\x01\x2d\1\0\0\0\x31\2\0\0\0\0\0\0\0\x12\2hi", 21)),
            "4=150 5=f32:1 6=f64:2 2='hi' done");
  EXPECT_EQ(walk(std::string("\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")), "4=18446744073709551615 done");
}

TEST(ProtobufWalker, EntersMessagesAndSkipsTheRest) {
  EXPECT_EQ(walk("\x0a\x07\x1a\x02\x20\x05\x12\x01x\x4a\x03zzz\x20\x01"),
            "1(7){ 1.3(2){ 1.3.4=5 }1.3 1.2='x' }1 4=1 done");
  EXPECT_EQ(walk(std::string("\x0a\x00\x12\x00\x20\x01", 6)), "1(0){ }1 2='' 4=1 done");
}

TEST(ProtobufWalker, RefusesWhatIsNoProtobuf) {
  EXPECT_EQ(walk("\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), "invalid");
  EXPECT_EQ(walk(std::string("\0", 1)), "invalid");
  EXPECT_EQ(walk("\x0b"), "invalid");                         // a group
  EXPECT_EQ(walk("\x0a\x02\x12\x05hello"), "1(2){ invalid");  // longer than its message
  EXPECT_EQ(walk("\x0a\x01\x20\x05"), "1(1){ invalid");
  EXPECT_EQ(walk("{\"json\":1}"), "invalid");
}

TEST(ProtobufWalker, ACutMessageKeepsItsPrefix) {
  EXPECT_EQ(walk("\x20\x01\x12\x05he"), "4=1 2='heopen");
  EXPECT_EQ(walk("\x0a\x04\x20\x01"), "1(4){ 1.4=1 open");
}

TEST(ProtobufWalker, NestingIsBounded) {
  std::string message = "\x20\x01";
  for (int i = 0; i < 40; ++i) message = std::string("\x0a") + static_cast<char>(message.size()) + message;
  EXPECT_TRUE(walk(message).ends_with("}1 done"));
}

}  // namespace
}  // namespace penstock::parsers::wire::protobuf
