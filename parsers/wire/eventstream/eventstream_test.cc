#include "parsers/wire/eventstream/eventstream.h"

#include <gtest/gtest.h>

#include "parsers/wire/eventstream/crc32.h"
#include "parsers/wire/eventstream/testing.h"
#include "parsers/wire/testing.h"

namespace penstock::parsers::wire::eventstream {
namespace {

using testing::message;
using wire::testing::bytes;
using wire::testing::feed_every_way;
using wire::testing::Pieces;
using wire::testing::text;

struct Log : Sink {
  std::string out;
  void on_message_begin(const Headers& headers, std::uint32_t payload_bytes) override {
    for (const Header& header : headers) {
      out += std::string(header.name) + "=";
      out += header.type == HeaderType::kString ? std::string(header.value) : "#" + std::to_string(header.value.size());
      out += " ";
    }
    out += std::to_string(payload_bytes) + "[";
  }
  void on_payload(std::span<const std::uint8_t> bytes) override { out += text(bytes); }
  void on_message_end(bool valid) override { out += valid ? "] " : "]! "; }
};

std::string parse(std::string_view stream) {
  return feed_every_way(stream, [](const Pieces& pieces) {
    Log log;
    Parser parser(log);
    for (const std::string_view piece : pieces) parser.feed(bytes(piece));
    const ParseState end = parser.finish();
    return log.out +
           (end == ParseState::kDone      ? "done"
            : end == ParseState::kInvalid ? "invalid"
                                          : "open") +
           (parser.invalid_messages() == 0 ? "" : " " + std::to_string(parser.invalid_messages()));
  });
}

const std::string kDelta = message({{":event-type", "contentBlockDelta"}, {":message-type", "event"}}, "{\"a\":1}");

TEST(EventStream, Messages) {
  EXPECT_EQ(parse(kDelta + message({}, "")), ":event-type=contentBlockDelta :message-type=event 7[{\"a\":1}] 0[] done");
}

TEST(EventStream, EveryHeaderType) {
  std::string block;
  const auto add = [&](char type, std::string_view value) {
    block += std::string("\x01") + "h" + type + std::string(value);
  };
  add(0, "");
  add(1, "");
  add(2, "x");
  add(3, "xx");
  add(4, "xxxx");
  add(5, "xxxxxxxx");
  add(6, std::string_view("\0\x03zzz", 5));
  add(7, std::string_view("\0\x03str", 5));
  add(8, "xxxxxxxx");
  add(9, "xxxxxxxxxxxxxxxx");
  std::string out;
  testing::append32(out, 16 + block.size());
  testing::append32(out, block.size());
  testing::append_crc(out);
  out += block;
  testing::append_crc(out);
  EXPECT_EQ(parse(out), "h=#0 h=#0 h=#1 h=#2 h=#4 h=#8 h=#3 h=str h=#8 h=#16 0[] done");
}

TEST(EventStream, ABrokenMessageIsMarkedAndTheNextOneFound) {
  std::string broken = kDelta;
  broken[broken.size() - 6] = 'X';
  EXPECT_EQ(parse(broken + message({}, "next")),
            ":event-type=contentBlockDelta :message-type=event 7[{\"a\":X}]! 4[next] done 1");
  std::string prelude = kDelta;
  prelude[9] = 'X';
  EXPECT_EQ(parse(prelude + message({}, "next")), "4[next] done 1");
  EXPECT_EQ(parse("{\"message\":\"an error as JSON\"}"), "invalid 1");
}

TEST(EventStream, ACutMessageIsNotValid) {
  EXPECT_EQ(parse(kDelta.substr(0, kDelta.size() - 2)),
            ":event-type=contentBlockDelta :message-type=event 7[{\"a\":1}]! open");
}

TEST(EventStream, HugeLengthsAreRefused) {
  std::string out;
  testing::append32(out, 0xffffffff);
  testing::append32(out, 0xfffffff0);
  testing::append_crc(out);
  EXPECT_EQ(parse(out), "invalid 1");
}

TEST(EventStream, AfterAHoleTheNextMessageIsFound) {
  Log log;
  Parser parser(log);
  parser.feed(bytes(kDelta).first(66));
  parser.gap();
  parser.feed(bytes("half of a message" + message({}, "next")));
  EXPECT_EQ(log.out, ":event-type=contentBlockDelta :message-type=event 7[]! 4[next] ");
}

// Against zlib, at every length and cut in two.
TEST(EventStream, ChecksumsAreThoseOfZlib) {
  std::string data;
  for (unsigned n = 0; n < 300; ++n) {
    const auto all = bytes(data);
    const auto expected = static_cast<std::uint32_t>(::crc32_z(0, all.data(), all.size()));
    EXPECT_EQ(crc32(0, all), expected) << n;
    EXPECT_EQ(crc32(crc32(0, all.first(n / 3)), all.subspan(n / 3)), expected) << n;
    data.push_back(static_cast<char>(n * 167 + n / 7));
  }
}

}  // namespace
}  // namespace penstock::parsers::wire::eventstream
