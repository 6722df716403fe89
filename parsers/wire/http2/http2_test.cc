#include "parsers/wire/http2/http2.h"

#include <gtest/gtest.h>

#include <random>

#include "parsers/core/limits.h"
#include "parsers/wire/http/recorder.h"
#include "parsers/wire/http2/testing.h"
#include "parsers/wire/testing.h"

namespace penstock::parsers::wire::http2 {
namespace {

using testing::Encoder;
using testing::FieldList;
using testing::frame;
using testing::setting;
using wire::testing::bytes;
using wire::testing::feed_every_way;
using wire::testing::Pieces;

const std::string kHello = std::string(kClientPreface) + frame(FrameType::kSettings, 0, 0, "");

FieldList request(const std::string& path) {
  return {{":method", "POST"}, {":scheme", "https"}, {":path", path}, {":authority", "api.example"}, {"x", path}};
}

std::string headers(Encoder& encoder, std::uint32_t stream, const FieldList& fields, std::uint8_t flags = 0) {
  return frame(FrameType::kHeaders, flag::kEndHeaders | flags, stream, encoder.block(fields));
}
// Joins in the order written, which operator+ does not promise for the blocks of one encoder.
std::string join(std::initializer_list<std::string> parts) {
  std::string out;
  for (const std::string& part : parts) out += part;
  return out;
}
std::string data(std::uint32_t stream, std::string_view text, std::uint8_t flags = 0) {
  return frame(FrameType::kData, flags, stream, text);
}

std::string converse(std::string_view to_server, std::string_view to_client, http::Options options = {}) {
  const auto run = [&](const Pieces& requests, const Pieces& responses) {
    http::Recorder recorder;
    Connection connection(recorder, options);
    http::feed_pieces(connection, Direction::kToServer, requests);
    const std::string settled = std::to_string(connection.settled_pos()) + (connection.request_open() ? " open" : "");
    http::feed_pieces(connection, Direction::kToClient, responses);
    connection.close();
    return recorder.log() + "settled " + settled + "\n";
  };
  const std::string log = feed_every_way(to_server, [&](const Pieces& pieces) { return run(pieces, {to_client}); });
  feed_every_way(to_client, [&](const Pieces& pieces) { return run({to_server}, pieces); });
  return log;
}

TEST(Http2, OneExchange) {
  Encoder client, server;
  const std::string to_server =
      join({kHello, headers(client, 1, request("/v1/x")), data(1, "ques"), data(1, "tion", flag::kEndStream),
            frame(FrameType::kWindowUpdate, 0, 0, setting(0, 9).substr(2))});
  const std::string to_client =
      join({frame(FrameType::kSettings, 0, 0, ""), frame(FrameType::kSettings, flag::kAck, 0, ""),
            headers(server, 1, {{":status", "103"}, {"link", "l"}}),
            headers(server, 1, {{":status", "200"}, {"content-type", "text/event-stream"}}), data(1, "answer"),
            headers(server, 1, {{"grpc-status", "0"}}, flag::kEndStream)});
  EXPECT_EQ(converse(to_server, to_client),
            "1 > POST /v1/x api.example @33 | x: /v1/x\n1 > body @" + std::to_string(to_server.find("ques")) +
                " question\n1 > end @" + std::to_string(to_server.size() - 13) +
                "\n1 < interim 103\n1 < 200 | content-type: text/event-stream\n1 < body @" +
                std::to_string(to_client.find("answer")) + " answer\n1 < end complete | grpc-status: 0\nsettled " +
                std::to_string(to_server.size()) + "\n");
}

TEST(Http2, PaddingPriorityAndContinuation) {
  Encoder client;
  const std::string block = client.block(request("/p"));
  const std::string padded = std::string("\x03") + std::string("\0\0\0\0\x10", 5) + block.substr(0, 5) + "PAD";
  const std::string to_server =
      kHello + frame(FrameType::kHeaders, flag::kPadded | flag::kPriority | flag::kEndStream, 1, padded) +
      frame(FrameType::kContinuation, 0, 1, block.substr(5, 3)) +
      frame(FrameType::kContinuation, flag::kEndHeaders, 1, block.substr(8));
  const std::string to_client = frame(FrameType::kSettings, 0, 0, "") +
                                frame(FrameType::kHeaders, flag::kEndHeaders, 1, "\x88") +
                                data(1,
                                     "\x04"
                                     "okPADS",
                                     flag::kPadded) +
                                data(1, std::string("\x02\0\0", 3), flag::kPadded) +
                                data(1, std::string(1, '\0'), flag::kPadded | flag::kEndStream);
  EXPECT_EQ(converse(to_server, to_client),
            "1 > POST /p api.example @33 | x: /p\n1 > end @" + std::to_string(to_server.size()) +
                "\n1 < 200\n1 < body @" + std::to_string(to_client.find("ok")) + " ok\n1 < end complete\nsettled " +
                std::to_string(to_server.size()) + "\n");
}

TEST(Http2, ManyStreamsInterleave) {
  Encoder client, server;
  std::string to_server = kHello, to_client = frame(FrameType::kSettings, 0, 0, "");
  for (const std::uint32_t id : {1u, 3u, 5u}) to_server += headers(client, id, request("/" + std::to_string(id)));
  const std::size_t first = 33;
  to_server += data(3, "b", flag::kEndStream) + data(5, "c", flag::kEndStream);
  const std::string open = converse(to_server, "");
  EXPECT_TRUE(open.ends_with("settled " + std::to_string(first) + " open\n")) << open;
  to_server += data(1, "a", flag::kEndStream);
  for (const std::uint32_t id : {5u, 1u}) to_client += headers(server, id, {{":status", "200"}});
  to_client += data(1, "A") + data(5, "C", flag::kEndStream) + data(1, "a", flag::kEndStream) +
               frame(FrameType::kRstStream, 0, 3, std::string(4, '\0'));
  const std::string log = converse(to_server, to_client);
  EXPECT_NE(log.find("5 < body @48 C\n5 < end complete\n1 < body @58 a\n1 < end complete\n3 < end reset\n"),
            std::string::npos)
      << log;
  EXPECT_TRUE(log.ends_with("settled " + std::to_string(to_server.size()) + "\n")) << log;
}

TEST(Http2, TableSizesFollowTheSettings) {
  Encoder client(8192);
  // The server announces 8192, the client acknowledges and uses it; later 0.
  std::string to_server = kHello;
  http::Recorder recorder;
  Connection connection(recorder);
  std::uint64_t out = 0, in = 0;
  const auto send = [&](const std::string& text) {
    connection.feed(Direction::kToServer, out, bytes(text));
    out += text.size();
  };
  const auto receive = [&](const std::string& text) {
    connection.feed(Direction::kToClient, in, bytes(text));
    in += text.size();
  };
  send(kHello);
  receive(frame(FrameType::kSettings, 0, 0, setting(1, 8192)));
  send(frame(FrameType::kSettings, flag::kAck, 0, ""));
  client.change_table_size(8192);
  FieldList large = request("/large");
  for (int i = 0; i < 60; ++i) large.emplace_back("name-" + std::to_string(i), std::string(60, 'v'));
  send(headers(client, 1, large, flag::kEndStream));
  send(headers(client, 3, large, flag::kEndStream));
  receive(frame(FrameType::kSettings, 0, 0, setting(1, 0)));
  send(frame(FrameType::kSettings, flag::kAck, 0, ""));
  client.change_table_size(0);
  send(headers(client, 5, large, flag::kEndStream));
  const std::string log = recorder.log();
  EXPECT_EQ(log.find("invalid"), std::string::npos) << log;
  for (const char* id : {"1", "3", "5"}) {
    EXPECT_NE(log.find(std::string(id) + " > POST /large api.example"), std::string::npos) << log;
  }
}

TEST(Http2, JoinedInTheMiddleKeepsWhatCanBeKnown) {
  Encoder client, server;
  // Before observation began the dynamic tables of both sides were filled: authority and key are indices from now on
  // (nghttp2 never indexes a path).
  const FieldList warm = {{":method", "POST"},
                          {":scheme", "https"},
                          {":path", "/v1/messages"},
                          {":authority", "api.example"},
                          {"x-api-key", "k"}};
  client.block(warm);
  server.block({{":status", "200"}, {"content-type", "application/json"}, {"server", "s"}});
  FieldList next = warm;
  next.emplace_back("x-new", "1");
  const std::string to_server = join({data(9, "rest of a request"), headers(client, 11, next),
                                      data(11, "{}", flag::kEndStream), headers(client, 13, next, flag::kEndStream)});
  const std::string to_client =
      join({data(9, "rest"), headers(server, 9, {{"grpc-status", "0"}}, flag::kEndStream),
            headers(server, 11, {{":status", "200"}, {"content-type", "application/json"}, {"server", "s"}}),
            data(11, "{\"ok\":1}", flag::kEndStream), headers(server, 7, {{":status", "200"}}),
            data(7, "late", flag::kEndStream)});
  const std::string log = converse(to_server, to_client, {.joined = true});
  EXPECT_EQ(log.find("invalid"), std::string::npos) << log;
  EXPECT_NE(log.find("11 > POST /v1/messages  @26 guessed | x-new: 1\n"), std::string::npos) << log;
  EXPECT_NE(log.find(" {}\n11 > end"), std::string::npos) << log;
  EXPECT_NE(log.find("13 > POST /v1/messages  @"), std::string::npos) << log;
  EXPECT_NE(log.find("11 < 200 guessed\n11 < body"), std::string::npos) << log;
  EXPECT_NE(log.find(" late\n7 < end complete"), std::string::npos) << log;
  EXPECT_EQ(log.find("\n9 "), std::string::npos) << log;
}

TEST(Http2, JoinedInsideAFrameFindsTheNextOne) {
  Encoder client;
  const std::string to_server = std::string("\"text\":\"of a prompt\"}") + std::string("\x1f\x8b\0\0\1\2\3", 7) +
                                headers(client, 11, request("/v1/x"), flag::kEndStream);
  const std::string log = converse(to_server, "", {.joined = true});
  EXPECT_NE(log.find("11 > POST /v1/x api.example @28"), std::string::npos) << log;
}

TEST(Http2, JoinedBehindALargerTable) {
  Encoder client(65536);
  client.change_table_size(65536);
  FieldList large = request("/v1/x");
  for (int i = 0; i < 300; ++i) large.emplace_back("name-" + std::to_string(i), std::string(20, 'v'));
  client.block(large);
  const std::string log = converse(
      join({headers(client, 11, large, flag::kEndStream), headers(client, 13, {{"fresh", "f"}}, flag::kEndStream),
            headers(client, 15, {{"fresh", "f"}}, flag::kEndStream)}),
      "", {.joined = true});
  EXPECT_EQ(log.find("invalid"), std::string::npos) << log;
  EXPECT_NE(log.find("15 >    @"), std::string::npos) << log;
  EXPECT_NE(log.find("| fresh: f\n15 > end"), std::string::npos) << log;
}

TEST(Http2, AHoleInsideDataIsSkipped) {
  Encoder client;
  http::Recorder recorder;
  Connection connection(recorder);
  const std::string head = kHello + headers(client, 1, request("/"));
  const std::string body = data(1, "0123456789", flag::kEndStream);
  connection.feed(Direction::kToServer, 0, bytes(head + body.substr(0, 11)));
  connection.gap(Direction::kToServer, 5);
  connection.feed(Direction::kToServer, head.size() + 16, bytes(body.substr(16)));
  const std::string log = recorder.log();
  EXPECT_NE(log.find(" 01\n1 > loss 5\n1 > body @" + std::to_string(head.size() + 16) + " 789\n1 > end"),
            std::string::npos)
      << log;
}

TEST(Http2, ALargerHoleCostsTheTableButNotTheConnection) {
  Encoder client;
  http::Recorder recorder;
  Connection connection(recorder);
  const std::string head = kHello + headers(client, 1, request("/a"));
  headers(client, 3, request("/lost"));
  const std::string next = join(
      {headers(client, 5, request("/lost"), flag::kEndStream), headers(client, 7, request("/b"), flag::kEndStream)});
  connection.feed(Direction::kToServer, 0, bytes(head));
  connection.gap(Direction::kToServer, 0);
  connection.feed(Direction::kToServer, 1000, bytes(next));
  const std::string log = recorder.log();
  EXPECT_NE(log.find("1 > loss 0\n"), std::string::npos) << log;
  EXPECT_NE(log.find("5 > POST /lost  @1000 guessed\n"), std::string::npos) << log;
  EXPECT_NE(log.find("7 > POST /b"), std::string::npos) << log;
}

TEST(Http2, UpgradedFromHttp1) {
  Encoder server;
  http::Recorder recorder;
  Connection connection(recorder);
  connection.adopt_upgraded(bytes(setting(1, 0)));
  connection.feed(Direction::kToServer, 0, bytes(kHello));
  const std::string answer =
      frame(FrameType::kSettings, 0, 0, "") + headers(server, 1, {{":status", "200"}}) + data(1, "x", flag::kEndStream);
  connection.feed(Direction::kToClient, 0, bytes(answer));
  EXPECT_TRUE(recorder.log().ends_with("1 < end complete\n")) << recorder.log();
}

TEST(Http2, ExtendedConnectNamesItsProtocol) {
  Encoder client;
  const std::string log =
      converse(kHello + headers(client, 1, {{":method", "CONNECT"}, {":protocol", "websocket"}, {":path", "/ws"}}), "");
  EXPECT_NE(log.find("1 > CONNECT /ws  @33 protocol websocket\n"), std::string::npos) << log;
}

TEST(Http2, BrokenFramesAreSkippedUntilTheNextPlausibleOne) {
  for (const std::string& bad : {
           frame(FrameType::kData, flag::kPadded, 1,
                 "\x09"
                 "abc"),
           frame(FrameType::kSettings, 0, 0, "12345"),
           frame(FrameType::kPing, 0, 3, "12345678"),
           frame(FrameType::kContinuation, flag::kEndHeaders, 1, "x"),
           frame(FrameType::kHeaders, flag::kPriority | flag::kEndHeaders, 1, "x"),
           frame(FrameType::kHeaders, 0, 1, "x") + frame(FrameType::kPing, 0, 0, "12345678"),
       }) {
    Encoder client;
    const std::string log = converse(kHello + bad + headers(client, 3, request("/b"), flag::kEndStream), "");
    EXPECT_NE(log.find("> invalid"), std::string::npos) << log;
    EXPECT_NE(log.find("3 > POST /b api.example"), std::string::npos) << log;
  }
}

TEST(Http2, AHeaderBombIsBounded) {
  Encoder client;
  http::Recorder recorder;
  Connection connection(recorder);
  // One field of 4000 bytes enters the table, then 16,000 one-byte references to it.
  std::string block = std::string(
                          "\x40\x01"
                          "b\x7f\xa1\x1e",
                          6) +
                      std::string(4000, 'v');
  block += std::string(16000, '\xbe');
  std::string wire = kHello;
  for (std::size_t at = 0; at < block.size(); at += 10000) {
    const std::string part = block.substr(at, 10000);
    const std::uint8_t last = at + 10000 >= block.size() ? flag::kEndHeaders : 0;
    wire += frame(at == 0 ? FrameType::kHeaders : FrameType::kContinuation, last, 1, part);
  }
  connection.feed(Direction::kToServer, 0, bytes(wire));
  EXPECT_LE(recorder.log().size(), 2 * limits::kHeadBytes);
  EXPECT_EQ(recorder.log().find("invalid"), std::string::npos);
}

TEST(Http2, StreamsWithoutEndAreBounded) {
  Encoder client;
  http::Recorder recorder;
  Connection connection(recorder);
  std::uint64_t pos = 0;
  const auto send = [&](const std::string& text) {
    connection.feed(Direction::kToServer, pos, bytes(text));
    pos += text.size();
  };
  send(kHello);
  for (std::uint32_t i = 0; i < limits::kStreams + 10; ++i) send(headers(client, 2 * i + 1, request("/")));
  EXPECT_EQ(connection.open_streams(), limits::kStreams);
  EXPECT_NE(recorder.log().find("1 < end truncated"), std::string::npos);
}

TEST(Hpack, DecodesWhatNghttp2Encodes) {
  std::mt19937 random(3);
  for (const std::uint32_t table : {0u, 100u, 4096u, 30000u}) {
    Encoder encoder(table);
    encoder.change_table_size(table);
    Hpack decoder(false);
    decoder.change_table_size(table);
    for (int round = 0; round < 300; ++round) {
      FieldList fields;
      for (std::size_t i = random() % 12; i != 0; --i) {
        std::string value;
        for (std::size_t n = random() % 40; n != 0; --n) value.push_back(static_cast<char>(' ' + random() % 90));
        fields.emplace_back("name" + std::to_string(random() % 20), random() % 2 == 0 ? "v" : value);
      }
      http::Fields out;
      ASSERT_TRUE(decoder.decode(bytes(encoder.block(fields)), out));
      ASSERT_EQ(out.size(), fields.size());
      for (std::size_t i = 0; i < fields.size(); ++i) {
        EXPECT_EQ(out[i].name, fields[i].first);
        EXPECT_EQ(out[i].value, fields[i].second);
      }
    }
  }
}

TEST(Hpack, ABrokenBlockForgetsTheTable) {
  Hpack decoder(false);
  http::Fields out;
  EXPECT_FALSE(decoder.decode(bytes("\xff\xff\xff\xff\xff\xff"), out));
  EXPECT_TRUE(decoder.cold());
  EXPECT_TRUE(decoder.decode(bytes("\x82\xbe"), out));
  EXPECT_EQ(out[0].value, "GET");
  EXPECT_EQ(out[1].name, kUnknownName);
}

TEST(Hpack, WhatIsKnownStaysKnownWhenABlockRefersFurtherBack) {
  Encoder encoder;
  FieldList old;
  for (int i = 0; i < 40; ++i) old.emplace_back("old-" + std::to_string(i), "v");
  encoder.block(old);
  Hpack decoder(true);
  http::Fields out;
  FieldList fields = {{"new-a", "1"}, {"new-b", "2"}};
  ASSERT_TRUE(decoder.decode(bytes(encoder.block(fields)), out));
  // Ever older entries of the time before, and the new ones among them.
  for (std::size_t unknown = 1; unknown <= old.size(); unknown += 13) {
    fields.push_back(old[old.size() - unknown]);
    ASSERT_TRUE(decoder.decode(bytes(encoder.block(fields)), out));
    ASSERT_EQ(out.size(), fields.size());
    EXPECT_EQ(out.get("new-a"), "1");
    EXPECT_EQ(out.get("new-b"), "2");
    EXPECT_EQ(out[out.size() - 1].name, kUnknownName);
  }
  EXPECT_TRUE(decoder.decode(bytes("\xfe"), out)) << "an index that the table may hold";
  EXPECT_FALSE(decoder.decode(bytes("\xff\xff\xff\x7f"), out)) << "an index that no table holds";
}

TEST(Http2, SniffsThePreface) {
  EXPECT_EQ(sniff_preface(bytes(kClientPreface)), ParseState::kDone);
  EXPECT_EQ(sniff_preface(bytes("PRI")), ParseState::kNeedMore);
  EXPECT_EQ(sniff_preface(bytes("POST")), ParseState::kInvalid);
}

}  // namespace
}  // namespace penstock::parsers::wire::http2
