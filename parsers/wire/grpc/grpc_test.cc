#include "parsers/wire/grpc/grpc.h"

#include <gtest/gtest.h>

#include "parsers/wire/inflate/testing.h"
#include "parsers/wire/testing.h"

namespace penstock::parsers::wire::grpc {
namespace {

using testing::bytes;
using testing::feed_every_way;
using testing::Pieces;
using testing::text;

struct Log : Sink {
  std::string out;
  void on_message_begin(std::uint8_t flags, std::uint32_t length) override {
    out += std::to_string(flags) + "/" + std::to_string(length) + "[";
  }
  void on_message_data(std::span<const std::uint8_t> bytes) override { out += text(bytes); }
  void on_message_end(bool whole) override { out += whole ? "] " : "~] "; }
};

std::string message(std::uint8_t flags, std::string_view content) {
  std::string out(1, static_cast<char>(flags));
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>(content.size() >> shift));
  return out.append(content);
}

std::string read(std::string_view body, std::string_view encoding = "") {
  return feed_every_way(body, [&](const Pieces& pieces) {
    Log log;
    MessageReader reader(encoding, log);
    ParseState state = ParseState::kNeedMore;
    for (const std::string_view piece : pieces) state = reader.feed(bytes(piece));
    reader.finish();
    return log.out + (state == ParseState::kInvalid ? "invalid" : "");
  });
}

TEST(Grpc, MessagesOfOneBody) {
  EXPECT_EQ(read(message(0, "hello") + message(0, "") + message(0, "world")), "0/5[hello] 0/0[] 0/5[world] ");
  const std::string packed = inflate::testing::gzip("hello");
  EXPECT_EQ(read(message(1, packed) + message(0, "x"), "gzip"),
            "1/" + std::to_string(packed.size()) + "[hello] 0/1[x] ");
  EXPECT_EQ(read(message(0x80, "grpc-status: 0\r\n")), "128/16[grpc-status: 0\r\n] ");
}

TEST(Grpc, CutAndBrokenMessages) {
  EXPECT_EQ(read(message(0, "hello").substr(0, 8)), "0/5[hel~] ");
  EXPECT_EQ(read(message(1, "hello"), "br").substr(0, 4), "1/5[");
  EXPECT_EQ(read(message(1, "hello"), "nothing"), "1/5[~] ");
  EXPECT_EQ(read("{\"not\":\"grpc\"}"), "invalid");
}

TEST(Grpc, AHoleInsideAMessage) {
  Log log;
  MessageReader reader("", log);
  const std::string body = message(0, "0123456789") + message(0, "next");
  reader.feed(bytes(body).first(7));
  reader.gap(4);
  reader.feed(bytes(body).subspan(11));
  EXPECT_EQ(log.out, "0/10[016789~] 0/4[next] ");
  reader.gap(0);
  EXPECT_EQ(reader.feed(bytes(message(0, "x"))), ParseState::kInvalid);
}

}  // namespace
}  // namespace penstock::parsers::wire::grpc
