#include "parsers/wire/sse/sse.h"

#include <gtest/gtest.h>

#include "parsers/wire/testing.h"

namespace penstock::parsers::wire::sse {
namespace {

using testing::feed_every_way;
using testing::Pieces;

struct Log : Sink {
  std::string out;
  std::string data;
  void on_data(std::string_view piece) override { data += piece; }
  void on_field(std::string_view name, std::string_view value, bool whole) override {
    out += std::string(name) + "=" + std::string(value) + (whole ? " " : "… ");
  }
  void on_event(const Event& event) override {
    EXPECT_EQ(event.data_bytes, data.size());
    EXPECT_EQ(event.data_head, std::string_view(data).substr(0, 32));
    out += "[" + std::string(event.type) + (event.id.empty() ? "" : "#" + std::string(event.id)) + "|" +
           (event.has_data ? data : "-") + "]" + (event.terminated ? "" : "~") + "\n";
    data.clear();
  }
};

std::string parse(std::string_view text) {
  return feed_every_way(text, [](const Pieces& pieces) {
    Log log;
    Parser parser(log);
    for (const std::string_view piece : pieces) parser.feed(piece);
    parser.finish();
    return log.out;
  });
}

TEST(Sse, EveryLineEnding) {
  EXPECT_EQ(parse("data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d\r\n\ndata: e\n\r\n"), "[|a]\n[|b]\n[|c]\n[|d]\n[|e]\n");
}

TEST(Sse, ByteOrderMarkOnlyAtTheBeginning) {
  EXPECT_EQ(parse("\xef\xbb\xbf"
                  "data: a\n\n\xef\xbb\xbf"
                  "data: b\n\n"),
            "[|a]\n\xef\xbb\xbf"
            "data=b [|-]\n");
  EXPECT_EQ(parse("\xef\xbb"
                  "data: a\n\n"),
            "\xef\xbb"
            "data=a [|-]\n");
}

TEST(Sse, DataLinesAreJoined) {
  EXPECT_EQ(parse("data: a\ndata\ndata:  b\ndata:\n\n"), "[|a\n\n b\n]\n");
  EXPECT_EQ(parse("data\n\n"), "[|]\n");
  EXPECT_EQ(parse("data:x\n\n"), "[|x]\n");
}

TEST(Sse, NamesIdsAndComments) {
  EXPECT_EQ(parse(": keep-alive\n\nevent: message_start\nid: 7\nretry: 100\ndata: {}\n\n:\ndata: next\n\n"),
            "event=message_start id=7 retry=100 [message_start#7|{}]\n[#7|next]\n");
  EXPECT_EQ(parse("data: x\nevent: late\n\n"), "event=late [late|x]\n");
}

TEST(Sse, FieldsOutsideTheStandardAreDelivered) {
  EXPECT_EQ(parse("error: {\"code\":500}\n\n"), "error={\"code\":500} [|-]\n");
  EXPECT_EQ(parse("event: ping\n\n"), "event=ping [ping|-]\n");
}

TEST(Sse, AnEventWithoutItsEmptyLineIsKept) {
  EXPECT_EQ(parse("data: a\n\ndata: [DONE]"), "[|a]\n[|[DONE]]~\n");
  EXPECT_EQ(parse("data: a\n"), "[|a]~\n");
  EXPECT_EQ(parse("event: x"), "event=x [x|-]~\n");
  EXPECT_EQ(parse("\n\n\n"), "");
}

TEST(Sse, LongFieldsAreCutAndLongDataIsNot) {
  const std::string lots(3 * limits::kSseFieldBytes, 'x');
  EXPECT_EQ(parse("note: " + lots + "\ndata: " + lots + "\n\n"),
            "note=" + lots.substr(0, limits::kSseFieldBytes) + "… [|" + lots + "]\n");
}

TEST(Sse, AHundredMegabytesOfOneLineTakeNoMemory) {
  struct Count : Sink {
    std::uint64_t bytes = 0, events = 0;
    void on_data(std::string_view piece) override { bytes += piece.size(); }
    void on_field(std::string_view, std::string_view, bool) override {}
    void on_event(const Event&) override { ++events; }
  } count;
  Parser parser(count);
  const std::string piece(1 << 20, 'x');
  parser.feed("data: ");
  for (int i = 0; i < 100; ++i) parser.feed(piece);
  parser.feed("\n\n");
  EXPECT_EQ(count.bytes, 100u << 20);
  EXPECT_EQ(count.events, 1u);
}

TEST(Sse, AfterAGapTheNextWholeEventIsDelivered) {
  Log log;
  Parser parser(log);
  parser.feed("data: {\"a\":");
  parser.gap();
  log.data.clear();
  parser.feed("half\ndata: y\r\n\r\ndata: z\n\n");
  EXPECT_EQ(log.out, "[|z]\n");
}

TEST(Sse, AllocatesNothingPerEvent) {
  struct Nothing : Sink {
    void on_data(std::string_view) override {}
    void on_field(std::string_view, std::string_view, bool) override {}
    void on_event(const Event&) override {}
  } nothing;
  Parser parser(nothing);
  const std::string_view event = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\"}\n\n";
  parser.feed(event);
  const std::size_t before = testing::allocations();
  for (int i = 0; i < 10; ++i) parser.feed(event);
  EXPECT_EQ(testing::allocations(), before);
}

TEST(Sse, RecognisesTheFormat) {
  EXPECT_TRUE(looks_like_events("data: {"));
  EXPECT_TRUE(looks_like_events("\xef\xbb\xbf: hi"));
  EXPECT_TRUE(looks_like_events("\n\nevent: x"));
  EXPECT_FALSE(looks_like_events("{\"data\":1}"));
  EXPECT_FALSE(looks_like_events(""));
}

}  // namespace
}  // namespace penstock::parsers::wire::sse
