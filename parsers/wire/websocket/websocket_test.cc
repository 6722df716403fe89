#include "parsers/wire/websocket/websocket.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "parsers/wire/testing.h"
#include "parsers/wire/websocket/testing.h"

namespace penstock::parsers::wire::websocket {
namespace {

using testing::frame;
using wire::testing::bytes;
using wire::testing::feed_every_way;
using wire::testing::Pieces;
using wire::testing::text;

struct Log : Sink {
  std::string out;
  void on_message_begin(Direction, Opcode opcode, std::uint64_t pos) override {
    out += std::to_string(static_cast<int>(opcode)) + "@" + std::to_string(pos) + "[";
  }
  void on_message_data(Direction, std::span<const std::uint8_t> bytes) override { out += text(bytes); }
  void on_message_end(Direction, bool whole, std::uint64_t end) override {
    out += (whole ? "]@" : "~]@") + std::to_string(end) + " ";
  }
  void on_close(Direction, std::uint16_t code) override { out += "close " + std::to_string(code) + " "; }
  void on_invalid(Direction, std::string_view) override { out += "invalid "; }
};

std::string parse(Direction direction, std::string_view stream, Options options = {}) {
  return feed_every_way(stream, [&](const Pieces& pieces) {
    Log log;
    Connection connection(log, options);
    std::uint64_t pos = 0;
    for (const std::string_view piece : pieces) {
      connection.feed(direction, pos, bytes(piece));
      pos += piece.size();
    }
    connection.close();
    return log.out;
  });
}
std::string from_client(std::string_view stream, Options options = {}) {
  return parse(Direction::kToServer, stream, options);
}
std::string from_server(std::string_view stream, Options options = {}) {
  return parse(Direction::kToClient, stream, options);
}

// Compresses messages one after the other as a peer does.
class Deflater {
 public:
  Deflater() { deflateInit2(&stream_, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY); }
  ~Deflater() { deflateEnd(&stream_); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;
  std::string message(std::string_view input) {
    std::string out(256 + input.size() * 2, '\0');
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
    stream_.avail_in = static_cast<uInt>(input.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    deflate(&stream_, Z_SYNC_FLUSH);
    out.resize(out.size() - stream_.avail_out - 4);
    return out;
  }

 private:
  z_stream stream_{};
};

TEST(WebSocket, MessagesOfEveryLength) {
  const std::string medium(300, 'm'), large(70000, 'l');
  EXPECT_EQ(from_client(frame(0x81, "hello", true) + frame(0x82, "", true)), "1@0[hello]@11 2@11[]@17 ");
  EXPECT_EQ(from_server(frame(0x81, medium, false) + frame(0x81, large, false)),
            "1@0[" + medium + "]@304 1@304[" + large + "]@70314 ");
}

TEST(WebSocket, FragmentsWithControlFramesBetween) {
  EXPECT_EQ(from_client(frame(0x01, "he", true) + frame(0x89, "ping", true) + frame(0x00, "ll", true) +
                        frame(0x80, "o", true) +
                        frame(0x88,
                              "\x03\xe8"
                              "bye",
                              true)),
            "1@0[hello]@33 close 1000 ");
  EXPECT_EQ(from_server(frame(0x88, "", false)), "close 0 ");
}

TEST(WebSocket, PermessageDeflateWithContextTakeover) {
  Deflater deflater;
  const std::string one = deflater.message("{\"type\":\"response.created\"}");
  const std::string two = deflater.message("{\"type\":\"response.completed\"}");
  EXPECT_LT(two.size(), one.size());
  const std::string stream = frame(0x41, one.substr(0, 5), false) + frame(0x80, one.substr(5), false) +
                             frame(0xc1, two, false) + frame(0x81, "plain", false);
  const std::string log = from_server(stream, {.deflate = true});
  EXPECT_NE(log.find("[{\"type\":\"response.created\"}]"), std::string::npos) << log;
  EXPECT_NE(log.find("[{\"type\":\"response.completed\"}]"), std::string::npos) << log;
  EXPECT_NE(log.find("[plain]"), std::string::npos) << log;
}

TEST(WebSocket, PermessageDeflateWithoutContextTakeover) {
  std::string stream;
  for (const std::string message : {"{\"a\":1}", "{\"a\":1}"}) {
    Deflater deflater;
    stream += frame(0xc1, deflater.message(message), true);
  }
  const std::string log = from_client(stream, {.deflate = true, .client_no_context_takeover = true});
  EXPECT_EQ(log.find('~'), std::string::npos) << log;
  EXPECT_NE(log.find("[{\"a\":1}]", log.find("[{\"a\":1}]") + 1), std::string::npos) << log;
}

TEST(WebSocket, AWindowThatWasLostYieldsNothingWrong) {
  Deflater deflater;
  const std::string one = deflater.message("{\"usage\":{\"input_tokens\":12}}");
  const std::string two = deflater.message("{\"usage\":{\"input_tokens\":13}}");
  Log log;
  Connection connection(log, {.deflate = true});
  const std::string stream = frame(0xc1, one, false) + frame(0xc1, two, false);
  connection.feed(Direction::kToClient, 0, bytes(stream).first(10));
  connection.gap(Direction::kToClient, 4);
  connection.feed(Direction::kToClient, 14, bytes(stream).subspan(14));
  EXPECT_EQ(log.out.find("13"), std::string::npos) << log.out;
  EXPECT_TRUE(log.out.ends_with("[~]@" + std::to_string(stream.size()) + " ")) << log.out;
}

TEST(WebSocket, BrokenFramesAndTheNextPlausibleOne) {
  const std::string next = frame(0x81, "{\"ok\":true}", false);
  for (const std::string& bad :
       {frame(0x83, "x", false), frame(0xf1, "x", false), frame(0x81, "x", true), frame(0x80, "x", false),
        frame(0x09, "x", false), frame(0xc1, "x", false), frame(0x89, std::string(126, 'x'), false)}) {
    const std::string log = from_server(bad + next);
    EXPECT_TRUE(log.starts_with("invalid ")) << log;
    EXPECT_TRUE(log.ends_with("[{\"ok\":true}]@" + std::to_string(bad.size() + next.size()) + " ")) << log;
  }
}

TEST(WebSocket, JoinedInsideAMessage) {
  const std::string large = "{\"x\":\"" + std::string(300, 'l') + "\"}";
  EXPECT_EQ(
      from_client("rest of it\x81\x81\x7e" + frame(0x81, "{\"a\":1}", true) + frame(0x81, "b", true), {.joined = true}),
      "1@13[{\"a\":1}]@26 1@26[b]@33 ");
  EXPECT_EQ(from_server("rest" + frame(0x81, large, false), {.joined = true}),
            "1@4[" + large + "]@" + std::to_string(8 + large.size()) + " ");
}

TEST(WebSocket, AHoleInsideAMessageKeepsTheMask) {
  Log log;
  Connection connection(log, {});
  const std::string stream = frame(0x81, "0123456789", true);
  connection.feed(Direction::kToServer, 0, bytes(stream).first(8));
  connection.gap(Direction::kToServer, 3);
  EXPECT_TRUE(connection.message_open());
  connection.feed(Direction::kToServer, 11, bytes(stream).subspan(11));
  EXPECT_EQ(log.out, "1@0[0156789~]@16 ");
  EXPECT_EQ(connection.settled_pos(), 16u);
  EXPECT_FALSE(connection.message_open());
}

TEST(WebSocket, ExtensionsAsNegotiated) {
  http::Fields fields;
  EXPECT_FALSE(options_of(fields).deflate);
  fields.add("Sec-WebSocket-Extensions",
             "x-other, permessage-deflate; server_no_context_takeover; client_max_window_bits=12");
  EXPECT_TRUE(options_of(fields).deflate);
  EXPECT_TRUE(options_of(fields).server_no_context_takeover);
  EXPECT_FALSE(options_of(fields).client_no_context_takeover);
}

}  // namespace
}  // namespace penstock::parsers::wire::websocket
