#include "parsers/wire/http1/http1.h"

#include <gtest/gtest.h>

#include "parsers/wire/http/recorder.h"
#include "parsers/wire/testing.h"

namespace penstock::parsers::wire::http1 {
namespace {

using testing::bytes;
using testing::feed_every_way;
using testing::Pieces;

// Requests first, then responses, each cut in every way.
std::string exchange(std::string_view to_server, std::string_view to_client, http::Options options = {}) {
  std::string log;
  const auto run = [&](const Pieces& requests, const Pieces& responses) {
    http::Recorder recorder;
    Connection connection(recorder, options);
    http::feed_pieces(connection, Direction::kToServer, requests);
    http::feed_pieces(connection, Direction::kToClient, responses);
    connection.close();
    return recorder.log() + "settled " + std::to_string(connection.settled_pos()) + "\n";
  };
  log = feed_every_way(to_server, [&](const Pieces& pieces) { return run(pieces, {to_client}); });
  feed_every_way(to_client, [&](const Pieces& pieces) { return run({to_server}, pieces); });
  return log;
}

TEST(Http1, KeepAliveAndPipelining) {
  EXPECT_EQ(exchange("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
                     "GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
                     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                     "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            "1 > POST /a h @0 | host: h | content-length: 5\n"
            "1 > body @48 hello\n"
            "1 > end @53\n"
            "2 > GET /b h @53 | host: h\n"
            "2 > end @81\n"
            "1 < 200 | content-length: 2\n"
            "1 < body @38 ok\n"
            "1 < end complete\n"
            "2 < 404 | content-length: 0\n"
            "2 < end complete\n"
            "settled 81\n");
}

TEST(Http1, ChunkedWithExtensionsAndTrailers) {
  EXPECT_EQ(exchange("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n6\r\n "
                     "world\r\n0\r\nX-T: 1\r\n\r\n",
                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
            "1 > POST /  @0 | transfer-encoding: chunked\n"
            "1 > body @56 hello world\n"
            "1 > end @87 | x-t: 1\n"
            "1 < 200 | transfer-encoding: gzip, chunked\n"
            "1 < body @56 x\n"
            "1 < end complete\n"
            "settled 87\n");
}

TEST(Http1, AnswersWithoutBody) {
  EXPECT_EQ(exchange("HEAD / HTTP/1.1\r\n\r\nGET /n HTTP/1.1\r\n\r\nGET /m HTTP/1.1\r\n\r\nGET /o HTTP/1.1\r\n\r\n",
                     "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
                     "HTTP/1.1 204 No Content\r\n\r\n"
                     "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"
                     "HTTP/1.1 200\r\n\r\nuntil the end"),
            "1 > HEAD /  @0\n1 > end @19\n2 > GET /n  @19\n2 > end @38\n3 > GET /m  @38\n3 > end @57\n"
            "4 > GET /o  @57\n4 > end @76\n"
            "1 < 200 | content-length: 100\n1 < end complete\n"
            "2 < 204\n2 < end complete\n"
            "3 < 304 | content-length: 9\n3 < end complete\n"
            "4 < 200\n4 < body @131 until the end\n4 < end complete\nsettled 76\n");
}

TEST(Http1, InterimAnswers) {
  EXPECT_EQ(exchange("PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
                     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                     "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
            "1 > PUT /  @0 | expect: 100-continue | content-length: 1\n1 > body @59 x\n1 > end @60\n"
            "1 < interim 100\n1 < interim 103\n1 < 201 | content-length: 0\n1 < end complete\nsettled 60\n");
}

TEST(Http1, UpgradeHandsTheBytesOver) {
  http::Recorder recorder;
  Connection connection(recorder);
  const std::string request = "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
  connection.feed(Direction::kToServer, 0, bytes(request));
  connection.feed(Direction::kToClient, 0, bytes("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\nabc"));
  connection.feed(Direction::kToServer, request.size(), bytes("xyz"));
  connection.gap(Direction::kToServer, 3);
  connection.close();
  EXPECT_EQ(recorder.log(),
            "1 > GET /ws  @0 | upgrade: websocket | connection: Upgrade\n1 > end @61\n"
            "1 < 101 | upgrade: websocket\n1 tunnel\n1 < tunnel @46 abc\n1 > tunnel @61 xyz\n1 > loss 3\n"
            "1 < end complete\n");
}

TEST(Http1, ConnectBecomesATunnelOnlyWhenAccepted) {
  EXPECT_EQ(exchange("CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n",
                     "HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n\r\n"),
            "1 > CONNECT api.example:443 api.example:443 @0 | host: api.example:443\n1 > end @59\n"
            "1 < 407 | content-length: 0\n1 < end complete\nsettled 59\n");
  EXPECT_EQ(exchange("CONNECT a:443 HTTP/1.1\r\nContent-Length: 9\r\n\r\n", "").find("invalid"), std::string::npos);
  EXPECT_EQ(exchange("CONNECT api.example:443 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nhi"),
            "1 > CONNECT api.example:443 api.example:443 @0\n1 > end @36\n"
            "1 < 200\n1 tunnel\n1 < tunnel @19 hi\n1 < end complete\nsettled 36\n");
}

TEST(Http1, FoldedFieldsAreJoined) {
  EXPECT_EQ(exchange("GET / HTTP/1.1\r\nX: a\r\n  b\r\n\tc\r\nY:\r\n\r\n", ""),
            "1 > GET /  @0 | x: a b c | y: \n1 > end @37\n1 < end truncated\nsettled 37\n");
}

TEST(Http1, SmugglingIsInvalidAndNeverReportedWhole) {
  for (const char* head : {
           "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
           "Content-Length: 5\r\nContent-Length: 6\r\n",
           "Content-Length: 5, 6\r\n",
           "Content-Length: +5\r\n",
           "Content-Length: 0x5\r\n",
           "Content-Length: 99999999999999999999\r\n",
           "Content-Length: \r\n",
           "Content-Length: 5\r\n 6\r\n",
           "Content-Length : 5\r\n",
           "X: y\r\n Content-Length: 5\r\n",
           "Transfer-Encoding: chunked, identity\r\n",
           "Transfer-Encoding: xchunked\r\n",
           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding:\r\n chunked\r\n",
           "Transfer-Encoding: chunked\rX: y\r\n",
       }) {
    const std::string log = exchange(std::string("POST / HTTP/1.1\r\n") + head + "\r\n5\r\nhello\r\n0\r\n\r\n", "");
    EXPECT_TRUE(log.starts_with("> invalid")) << head << log;
    EXPECT_TRUE(log.ends_with("settled 0\n")) << head << log;
  }
  for (const char* chunks : {"5\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "-5\r\n",
                             "\r\n", "fffffffffffffffff\r\n", "5;a\rb\r\nhello\r\n", "5;\r\nhello\r\n",
                             "5;a=\"b\r\nhello\r\n", "5;a=\"b\" \r\nhello\r\n", "5\r\nhello\n0\r\n\r\n"}) {
    const std::string log = exchange(std::string("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n") + chunks, "");
    EXPECT_NE(log.find("> invalid"), std::string::npos) << chunks << log;
    EXPECT_EQ(log.find("> end"), std::string::npos) << chunks << log;
  }
}

TEST(Http1, HeadsAreBounded) {
  const std::string long_field = "GET / HTTP/1.1\r\nX: " + std::string(limits::kHeadBytes, 'x') + "\r\n\r\n";
  http::Recorder recorder;
  Connection connection(recorder);
  connection.feed(Direction::kToServer, 0, bytes(long_field));
  EXPECT_EQ(recorder.log(), "> invalid: head too large\n");
  std::string many = "GET / HTTP/1.1\r\n";
  for (std::size_t i = 0; i <= limits::kHeaders; ++i) many += "X: y\r\n";
  http::Recorder other;
  Connection second(other);
  second.feed(Direction::kToServer, 0, bytes(many));
  EXPECT_EQ(other.log(), "> invalid: too many fields\n");
}

TEST(Http1, FindsTheNextMessageWhenJoinedInside) {
  EXPECT_EQ(exchange("of a body {\"a\":1}POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok",
                     "data: {\"x\":\"HTTP/1.1 200 OK\\r\\n\"}\n\n"
                     "0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                     {.joined = true}),
            "1 > POST /v1/x h @17 | host: h | content-length: 2\n1 > body @68 ok\n1 > end @70\n"
            "1 < 200 | content-length: 2\n1 < body @78 ok\n1 < end complete\nsettled 70\n");
}

TEST(Http1, AnAnswerWithoutItsRequestHasAStreamOfItsOwn) {
  EXPECT_EQ(exchange("", "rest\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", {.joined = true}),
            "1 < 200 | content-length: 2\n1 < body @44 ok\n1 < end complete\nsettled 0\n");
}

TEST(Http1, AHoleInsideABodyIsSkipped) {
  http::Recorder recorder;
  Connection connection(recorder);
  connection.feed(Direction::kToServer, 0, bytes("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nab"));
  connection.gap(Direction::kToServer, 6);
  connection.feed(Direction::kToServer, 47, bytes("yz"));
  connection.feed(Direction::kToClient, 0, bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nab"));
  connection.gap(Direction::kToClient, 0);
  connection.feed(Direction::kToClient, 900, bytes("c\r\n0\r\n\r\n"));
  connection.feed(Direction::kToServer, 49, bytes("GET /2 HTTP/1.1\r\n\r\n"));
  connection.feed(Direction::kToClient, 909, bytes("HTTP/1.1 204 OK\r\nA: b\r\n\r\n"));
  connection.close();
  EXPECT_EQ(recorder.log(),
            "1 > POST /  @0 | content-length: 10\n1 > body @39 ab\n1 > loss 6\n1 > body @47 yz\n1 > end @49\n"
            "1 < 200 | transfer-encoding: chunked\n1 < body @51 ab\n1 < end truncated\n"
            "2 > GET /2  @49\n2 > end @68\n2 < 204 | a: b\n2 < end complete\n");
}

TEST(Http1, LostAnswersDoNotShiftThePairing) {
  http::Recorder recorder;
  Connection connection(recorder);
  connection.feed(Direction::kToServer, 0, bytes("GET /1 HTTP/1.1\r\n\r\n"));
  connection.gap(Direction::kToClient, 0);
  connection.feed(Direction::kToServer, 19, bytes("GET /2 HTTP/1.1\r\n\r\n"));
  connection.feed(Direction::kToClient, 500, bytes("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_EQ(recorder.log(),
            "1 > GET /1  @0\n1 > end @19\n1 < end truncated\n2 > GET /2  @19\n2 > end @38\n"
            "2 < 200 | content-length: 0\n2 < end complete\n");
}

TEST(Http1, SniffsTheFirstBytes) {
  EXPECT_EQ(sniff_request(bytes("POST /")), ParseState::kDone);
  EXPECT_EQ(sniff_request(bytes("PO")), ParseState::kNeedMore);
  EXPECT_EQ(sniff_request(bytes("PROPFIND /x HTTP/1.1\r\n")), ParseState::kDone);
  EXPECT_EQ(sniff_request(bytes("PRI * HTTP/2.0\r\n")), ParseState::kInvalid);
  EXPECT_EQ(sniff_request(bytes("{\"jsonrpc\"")), ParseState::kInvalid);
  EXPECT_EQ(sniff_request(bytes("")), ParseState::kNeedMore);
  EXPECT_EQ(sniff_response(bytes("HTTP/1.1")), ParseState::kDone);
  EXPECT_EQ(sniff_response(bytes("HT")), ParseState::kNeedMore);
  EXPECT_EQ(sniff_response(bytes("{")), ParseState::kInvalid);
}

}  // namespace
}  // namespace penstock::parsers::wire::http1
