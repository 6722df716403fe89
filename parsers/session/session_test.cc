// What the owner of a connection relies on: positions, open requests, losses, connections joined late, protocols.
#include "parsers/session/session.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "parsers/wire/eventstream/testing.h"
#include "parsers/wire/http2/frame_reader.h"
#include "parsers/wire/http2/testing.h"
#include "parsers/wire/websocket/testing.h"
#include "userspace/model/names.h"

namespace penstock::parsers::session {
namespace {

struct Recorder final : ExchangeSink {
  struct Request {
    std::string model;
    std::uint64_t end_pos;
  };
  std::size_t heads = 0, progress = 0;
  std::vector<Request> requests;
  std::vector<model::Exchange> done;
  void on_request_head(model::Exchange&) override { ++heads; }
  void on_request(model::Exchange& exchange, std::uint64_t end_pos) override {
    requests.push_back({exchange.request_model, end_pos});
  }
  void on_progress(model::Exchange&) override { ++progress; }
  void on_complete(model::Exchange& exchange) override { done.push_back(exchange); }
};

class SessionTest : public testing::Test {
 protected:
  void open(bool joined = false, std::string provider = {}) {
    parser = make_connection_parser(
        {.host = "api.openai.com", .port = 443, .address = "203.0.113.7", .provider = std::move(provider)}, joined,
        sink);
  }
  void client(std::string_view bytes) { feed(Direction::kToServer, bytes, sent); }
  void server(std::string_view bytes) { feed(Direction::kToClient, bytes, received); }
  void feed(Direction direction, std::string_view bytes, std::uint64_t& at) {
    parser->feed(direction, at, {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, ++now_ns);
    at += bytes.size();
  }
  void lose(Direction direction, std::uint64_t bytes) {
    parser->gap(direction, bytes);
    (direction == Direction::kToServer ? sent : received) += bytes;
  }
  static std::string post(std::string_view model, std::string_view host = "api.openai.com") {
    const std::string body = fmt::format(R"({{"model":"{}","messages":[{{"role":"user","content":"Hi"}}]}})", model);
    return fmt::format("POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{}", host,
                       body.size(), body);
  }
  static std::string answer(int output) {
    const std::string body = fmt::format(
        R"({{"id":"c","model":"m-1","choices":[{{"index":0,"message":{{"content":"Hello"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":3,"completion_tokens":{}}}}})",
        output);
    return fmt::format("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}", body.size(),
                       body);
  }

  Recorder sink;
  std::unique_ptr<ConnectionParser> parser;
  std::uint64_t sent = 0, received = 0, now_ns = 0;
};

TEST_F(SessionTest, SettlesEachRequestAtItsLastByte) {
  open();
  const std::string first = post("a"), second = post("b");
  client(first.substr(0, 60));
  EXPECT_TRUE(parser->request_open());
  EXPECT_EQ(0u, parser->settled_pos());
  client(first.substr(60));
  EXPECT_FALSE(parser->request_open());
  EXPECT_EQ(first.size(), parser->settled_pos());
  client(second + post("c").substr(0, 20));  // pipelined: the second is whole, the third has begun
  ASSERT_EQ(2u, sink.requests.size());
  EXPECT_EQ(first.size(), sink.requests[0].end_pos);
  EXPECT_EQ(first.size() + second.size(), sink.requests[1].end_pos);
  EXPECT_TRUE(parser->request_open());
  EXPECT_EQ(first.size() + second.size(), parser->settled_pos());
}

TEST_F(SessionTest, AChunkedRequestEndsWithItsLastChunk) {
  open();
  client("POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\ntransfer-encoding: chunked\r\n\r\n");
  client("e\r\n{\"model\":\"gpt-\r\n3\r\n4\"}\r\n");
  EXPECT_TRUE(sink.requests.empty());
  client("0\r\n\r\n");
  ASSERT_EQ(1u, sink.requests.size());
  EXPECT_EQ("gpt-4", sink.requests[0].model);
  EXPECT_EQ(sent, sink.requests[0].end_pos);
}

TEST_F(SessionTest, AnswersKeepAlive) {
  open();
  for (int i = 1; i <= 3; ++i) {
    client(post("gpt-4o"));
    server(answer(i));
  }
  ASSERT_EQ(3u, sink.done.size());
  EXPECT_EQ(3u, sink.done[2].usage.output_tokens);
  EXPECT_EQ(model::UsageStatus::kExact, sink.done[2].usage_status);
  EXPECT_EQ("openai", sink.done[2].provider);
}

TEST_F(SessionTest, CompletesEveryHeadOnce) {
  open();
  client(post("a") + post("b"));
  server(answer(1).substr(0, 50));
  parser->close(++now_ns);
  EXPECT_EQ(2u, sink.heads);
  ASSERT_EQ(2u, sink.done.size());
  EXPECT_EQ(model::UsageStatus::kIncomplete, sink.done[0].usage_status);
  EXPECT_EQ(0u, sink.done[1].status);
}

TEST_F(SessionTest, AGapInTheAnswerIsIncomplete) {
  open();
  client(post("gpt-4o"));
  const std::string whole = answer(9);
  server(whole.substr(0, 150));
  lose(Direction::kToClient, 20);
  server(whole.substr(170));
  ASSERT_EQ(1u, sink.done.size());
  EXPECT_EQ(20u, sink.done[0].coverage.lost_bytes);
  EXPECT_EQ(model::UsageStatus::kIncomplete, sink.done[0].usage_status);
  client(post("gpt-4o"));
  server(answer(4));
  ASSERT_EQ(2u, sink.done.size());
  EXPECT_EQ(model::UsageStatus::kExact, sink.done[1].usage_status);
}

TEST_F(SessionTest, AGapInTheRequestKeepsTheExchange) {
  open();
  const std::string whole = post("gpt-4o");
  client(whole.substr(0, whole.size() - 30));
  lose(Direction::kToServer, 10);
  client(whole.substr(whole.size() - 20));
  server(answer(5));
  ASSERT_EQ(1u, sink.done.size());
  EXPECT_EQ(10u, sink.done[0].coverage.lost_bytes);
  EXPECT_EQ("gpt-4o", sink.done[0].request_model);
  EXPECT_EQ(5u, sink.done[0].usage.output_tokens);
}

TEST_F(SessionTest, JoinedBetweenRequests) {
  open(true);
  client(post("gpt-4o"));
  server(answer(6));
  ASSERT_EQ(1u, sink.done.size());
  EXPECT_EQ(6u, sink.done[0].usage.output_tokens);
  EXPECT_FALSE(sink.done[0].coverage.truncated_start);
}

TEST_F(SessionTest, JoinedInTheMiddleOfARequest) {
  open(true);
  client("ssages\":[]}");
  server(answer(6));  // to the request that began before
  client(post("gpt-4o"));
  server(answer(7));
  ASSERT_EQ(2u, sink.done.size());
  EXPECT_TRUE(sink.done[0].coverage.truncated_start);
  EXPECT_EQ(model::Kind::kLlm, sink.done[0].kind);
  EXPECT_EQ("openai", sink.done[0].provider);
  EXPECT_EQ(6u, sink.done[0].usage.output_tokens);
  EXPECT_EQ(model::UsageStatus::kIncomplete, sink.done[0].usage_status);
  EXPECT_EQ(1u, sink.requests.size());
  EXPECT_EQ(model::UsageStatus::kExact, sink.done[1].usage_status);
}

TEST_F(SessionTest, TheConfiguredProviderWins) {
  open(false, "groq");
  client(post("llama", "proxy.example.net"));
  server(answer(2));
  ASSERT_EQ(1u, sink.done.size());
  EXPECT_EQ("groq", sink.done[0].provider);
  EXPECT_EQ("proxy.example.net", sink.done[0].host);
}

TEST_F(SessionTest, ReportsWhileItStreams) {
  open();
  client(post("gpt-4o"));
  server("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
  server("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n");
  EXPECT_EQ(1u, sink.progress);
  server(
      "data: "
      "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\","
      "\"arguments\":\"{}\"}}]}}]}\n\n");
  EXPECT_EQ(2u, sink.progress);
  parser->close(++now_ns);
  ASSERT_EQ(1u, sink.done.size());
  EXPECT_EQ(7u, sink.done[0].output_text_bytes);
  EXPECT_EQ(1u, sink.done[0].tool_calls.size());
}

TEST_F(SessionTest, WhatIsNoneOfOursIsOther) {
  open();
  client("SSH-2.0-OpenSSH_9.2\r\n");
  EXPECT_EQ(Protocol::kOther, parser->protocol());
  EXPECT_FALSE(parser->request_open());
  EXPECT_EQ(sent, parser->settled_pos());
  EXPECT_EQ(0u, sink.heads);
}

TEST_F(SessionTest, HttpIsRecognisedFromItsFirstBytes) {
  open();
  client("PO");
  EXPECT_EQ(Protocol::kUnknown, parser->protocol());
  EXPECT_TRUE(parser->request_open());
  EXPECT_EQ(0u, parser->settled_pos());
  client("ST / HTTP/1.1\r\n");
  EXPECT_EQ(Protocol::kHttp1, parser->protocol());
}

TEST_F(SessionTest, AToolServerOverPipes) {
  open();
  client("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"echo\"}}\n{\"jsonrpc\":");
  EXPECT_EQ(Protocol::kJsonRpc, parser->protocol());
  EXPECT_TRUE(parser->request_open());
  ASSERT_EQ(1u, sink.requests.size());
  EXPECT_EQ(sink.requests[0].end_pos, parser->settled_pos());
  // The server numbers its own requests: its id 1 is not the answer.
  server(
      "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"roots/list\"}\nstray "
      "output\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"isError\":true}}\n");
  ASSERT_EQ(1u, sink.done.size());
  EXPECT_EQ(model::Kind::kMcp, sink.done[0].kind);
  EXPECT_EQ("tools/call", sink.done[0].operation);
  EXPECT_EQ("echo", sink.done[0].tool_calls.at(0).name);
  EXPECT_TRUE(sink.done[0].error.has_value());
  parser->close(++now_ns);
  EXPECT_EQ(2u, sink.done.size());
}

std::string text_frame(bool masked, std::string_view payload) {
  std::string frame = "\x81";
  frame.push_back(static_cast<char>((masked ? 0x80 : 0) | 126));
  frame.push_back(static_cast<char>(payload.size() >> 8));
  frame.push_back(static_cast<char>(payload.size()));
  if (masked) frame.append(4, '\0');
  return frame.append(payload);
}

TEST_F(SessionTest, EachTurnOfAWebSocketIsJudged) {
  open();
  client(
      "GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nhost: api.openai.com\r\nupgrade: websocket\r\nconnection: "
      "upgrade\r\n\r\n");
  server("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
  EXPECT_EQ(Protocol::kWebSocket, parser->protocol());
  client(text_frame(true,
                    R"({"type":"conversation.item.create","item":{"type":"message","content":[{"text":"Hello"}]}})"));
  EXPECT_EQ(sent, parser->settled_pos());
  EXPECT_EQ(1u, sink.requests.size());  // the handshake
  client(text_frame(true, R"({"type":"response.create"})"));
  ASSERT_EQ(2u, sink.requests.size());
  EXPECT_EQ(sent, sink.requests[1].end_pos);
  EXPECT_EQ("gpt-realtime", sink.requests[1].model);
  server(
      text_frame(false, R"({"type":"response.created","response":{"id":"r1","status":"in_progress","usage":null}})"));
  server(text_frame(false, R"({"type":"response.output_text.delta","response_id":"r1","delta":"Hi"})"));
  server(text_frame(
      false,
      R"({"type":"response.done","response":{"id":"r1","status":"completed","output":[],"usage":{"input_tokens":9,"output_tokens":2,"total_tokens":11}}})"));
  ASSERT_EQ(2u, sink.done.size());
  EXPECT_EQ("realtime", sink.done[1].operation);
  EXPECT_EQ(9u, sink.done[1].usage.input_tokens);
  EXPECT_EQ(model::UsageStatus::kExact, sink.done[1].usage_status);
  EXPECT_EQ(2u, sink.done[1].output_text_bytes);
  client(text_frame(true, R"({"type":"response.create"})"));
  parser->close(++now_ns);
  ASSERT_EQ(3u, sink.done.size());
  EXPECT_EQ(model::UsageStatus::kIncomplete, sink.done[2].usage_status);
}

// Nothing responds in it: each transcription is a turn, by the model that the session names.
TEST_F(SessionTest, ASessionThatOnlyTranscribes) {
  open();
  client(
      "GET /v1/realtime?intent=transcription HTTP/1.1\r\nhost: api.openai.com\r\nupgrade: websocket\r\nconnection: "
      "upgrade\r\n\r\n");
  server("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
  server(text_frame(
      false,
      R"({"type":"transcription_session.created","session":{"input_audio_transcription":{"model":"gpt-4o-transcribe"}}})"));
  for (const std::string_view item : {"i1", "i2"})
    server(text_frame(
        false,
        fmt::format(
            R"({{"type":"conversation.item.input_audio_transcription.completed","item_id":"{}","transcript":"Hello","usage":{{"type":"tokens","input_tokens":17,"output_tokens":3,"total_tokens":20}}}})",
            item)));
  ASSERT_EQ(3u, sink.done.size()) << "the handshake and two turns";
  EXPECT_EQ("gpt-4o-transcribe", sink.done[2].request_model);
  EXPECT_EQ(17u, sink.done[2].usage.input_tokens);
  EXPECT_EQ(3u, sink.done[2].usage.output_tokens);
  EXPECT_EQ(model::UsageStatus::kExact, sink.done[2].usage_status);
}

// Nova Sonic's request and answer are event streams that go on side by side; its usage is that of the conversation so
// far. The frames hold {"event": {textOutput | usageEvent | toolUse | usageEvent | completionEnd}}, in base64.
TEST_F(SessionTest, SpeechOverEventStreams) {
  constexpr std::string_view kFrames[] = {
      "eyJldmVudCI6eyJ0ZXh0T3V0cHV0Ijp7ImNvbnRlbnQiOiJIZWxsbyJ9fX0=",
      "eyJldmVudCI6eyJ1c2FnZUV2ZW50Ijp7InRvdGFsSW5wdXRUb2tlbnMiOjEwLCJ0b3RhbE91dHB1dFRva2VucyI6NCwidG90YWxUb2tlbnMiOjE0"
      "fX19",
      "eyJldmVudCI6eyJ0b29sVXNlIjp7InRvb2xVc2VJZCI6InQxIiwidG9vbE5hbWUiOiJjbG9jayIsImNvbnRlbnQiOiJ7fSJ9fX0=",
      "eyJldmVudCI6eyJ1c2FnZUV2ZW50Ijp7InRvdGFsSW5wdXRUb2tlbnMiOjI1LCJ0b3RhbE91dHB1dFRva2VucyI6OSwidG90YWxUb2tlbnMiOjM0"
      "LCJkZXRhaWxzIjp7InRvdGFsIjp7ImlucHV0Ijp7InNwZWVjaFRva2VucyI6MjAsInRleHRUb2tlbnMiOjV9LCJvdXRwdXQiOnsic3BlZWNoVG9r"
      "ZW5zIjo2LCJ0ZXh0VG9rZW5zIjozfX19fX19",
      "eyJldmVudCI6eyJjb21wbGV0aW9uRW5kIjp7InN0b3BSZWFzb24iOiJFTkRfVFVSTiJ9fX0="};
  open(false, "aws.bedrock");
  client(
      "POST /model/amazon.nova-sonic-v1%3A0/invoke-with-bidirectional-stream HTTP/1.1\r\nhost: "
      "bedrock-runtime.us-east-1.amazonaws.com\r\ncontent-type: application/vnd.amazon.eventstream\r\n"
      "content-length: 0\r\n\r\n");
  server("HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n\r\n");
  for (const std::string_view frame : kFrames)
    server(wire::eventstream::testing::message({{":event-type", "chunk"}, {":message-type", "event"}},
                                               fmt::format(R"({{"bytes":"{}"}})", frame)));
  parser->close(++now_ns);
  ASSERT_EQ(1u, sink.done.size());
  const model::Exchange& exchange = sink.done[0];
  EXPECT_EQ("realtime", exchange.operation);
  EXPECT_EQ("amazon.nova-sonic-v1:0", exchange.request_model);
  EXPECT_EQ(25u, exchange.usage.input_tokens);
  EXPECT_EQ(9u, exchange.usage.output_tokens);
  EXPECT_EQ(20u, exchange.usage.audio_input_tokens);
  EXPECT_EQ("END_TURN", exchange.finish_reason);
  ASSERT_EQ(1u, exchange.tool_calls.size());
  EXPECT_EQ("clock", exchange.tool_calls[0].name);
}

// SageMaker's parts are cut anywhere; together they are what the container wrote.
TEST_F(SessionTest, ABodyInTheMessagesOfAnEventStream) {
  constexpr std::string_view kBody =
      "data:{\"token\":{\"text\":\"Hel\"}}\n\ndata:{\"token\":{\"text\":\"lo\"},\"generated_text\":\"Hello\","
      "\"details\":{\"finish_reason\":\"length\",\"generated_tokens\":2,\"input_length\":5}}\n\n";
  for (const std::size_t size : {1u, 7u, 64u, 1000u}) {
    open(false, "aws.sagemaker");
    sent = received = 0;
    sink.done.clear();
    const std::string request = R"({"inputs":"Say hello","parameters":{"details":true},"stream":true})";
    client(
        fmt::format("POST /endpoints/e/invocations-response-stream HTTP/1.1\r\nhost: runtime.sagemaker.x\r\n"
                    "content-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
                    request.size(), request));
    server("HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n\r\n");
    for (std::size_t at = 0; at < kBody.size(); at += size)
      server(wire::eventstream::testing::message(
          {{":event-type", "PayloadPart"}, {":message-type", "event"}, {":content-type", "application/octet-stream"}},
          kBody.substr(at, size)));
    parser->close(++now_ns);
    ASSERT_EQ(1u, sink.done.size());
    EXPECT_EQ(5u, sink.done[0].usage.input_tokens);
    EXPECT_EQ(2u, sink.done[0].usage.output_tokens);
    EXPECT_EQ(5u, sink.done[0].output_text_bytes);
    EXPECT_EQ("length", sink.done[0].finish_reason);
    EXPECT_TRUE(sink.done[0].stream);
  }
}

TEST_F(SessionTest, HugeCountersSaturate) {
  open();
  client("POST /v1/messages HTTP/1.1\r\nhost: api.anthropic.com\r\ncontent-length: 2\r\n\r\n{}");
  const std::string body =
      R"({"type":"message","content":[],"usage":{"input_tokens":9223372036854775807,"cache_read_input_tokens":9223372036854775807,"cache_creation_input_tokens":9223372036854775807,"output_tokens":-5}})";
  server(fmt::format("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", body.size(), body));
  ASSERT_EQ(1u, sink.done.size());
  EXPECT_EQ(std::numeric_limits<std::uint64_t>::max(), sink.done[0].usage.input_tokens);
  EXPECT_FALSE(sink.done[0].usage.output_tokens.has_value());
}

// What is no count is absent, never a number; nothing nests or repeats the parser to death.
TEST_F(SessionTest, HostileDocuments) {
  const auto usage_of = [this](const std::string& body) {
    open();
    sent = received = 0;
    sink.done.clear();
    client(post("gpt-4o"));
    server(fmt::format("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}", body.size(),
                       body));
    parser->close(++now_ns);
    EXPECT_EQ(1u, sink.done.size());
    return sink.done.empty() ? model::Usage() : sink.done[0].usage;
  };
  for (const std::string counter : {"NaN", "-Infinity", "-1", "1e400", "1.5", "null", "[3]", "{}", "true", "\"three\"",
                                    "99999999999999999999999"}) {
    const model::Usage usage =
        usage_of(fmt::format(R"({{"choices":[],"usage":{{"prompt_tokens":{0},"completion_tokens":7}}}})", counter));
    EXPECT_FALSE(usage.input_tokens.has_value()) << counter;
  }
  EXPECT_EQ(3u, usage_of(R"({"choices":[],"usage":{"prompt_tokens":3.0,"completion_tokens":1}})").input_tokens);
  EXPECT_EQ(model::Usage{}, usage_of(std::string(200'000, '[')));
  EXPECT_EQ(model::Usage{}, usage_of("{\"a\":" + std::string(100'000, '{')));
  std::string repeated = "{\"choices\":[";
  for (int i = 0; i < 50'000; ++i)
    repeated += R"({"index":0,"message":{"tool_calls":[{"id":"x","function":{"name":"y"}}]}},)";
  EXPECT_EQ(model::Usage{}, usage_of(repeated + "{}]}"));
  EXPECT_LE(sink.done.at(0).tool_calls.size(), 512u);
}

// RFC 8441: a WebSocket is one stream among others, and nothing waits for its end.
TEST_F(SessionTest, WebSocketOverHttp2) {
  namespace h2 = wire::http2;
  using h2::testing::frame;
  h2::testing::Encoder to_server, to_client;
  const auto socket_frame = [](std::uint32_t stream, bool from_client, std::string_view text) {
    return frame(h2::FrameType::kData, 0, stream, wire::websocket::testing::frame(0x81, text, from_client));
  };
  open();
  client(std::string(wire::http2::kClientPreface) + frame(h2::FrameType::kSettings, 0, 0, "") +
         frame(h2::FrameType::kHeaders, h2::flag::kEndHeaders, 1,
               to_server.block({{":method", "CONNECT"},
                                {":protocol", "websocket"},
                                {":scheme", "https"},
                                {":path", "/v1/realtime?model=gpt-realtime"},
                                {":authority", "api.openai.com"}})));
  EXPECT_FALSE(parser->request_open());
  EXPECT_EQ(sent, parser->settled_pos());
  server(frame(h2::FrameType::kSettings, 0, 0, "") +
         frame(h2::FrameType::kHeaders, h2::flag::kEndHeaders, 1, to_client.block({{":status", "200"}})));
  client(socket_frame(1, true, R"({"type":"response.create"})"));
  EXPECT_FALSE(parser->request_open());
  EXPECT_EQ(sent, parser->settled_pos());
  const std::string done =
      R"({"type":"response.done","response":{"id":"resp_1","status":"completed","usage":{"input_tokens":12,"output_tokens":7,"total_tokens":19}}})";
  const std::string answer = wire::websocket::testing::frame(0x81, done, false);
  server(frame(h2::FrameType::kData, 0, 1, answer.substr(0, 20)));
  // Another stream in between.
  const std::string body = R"({"model":"gpt-4o","messages":[]})";
  client(frame(h2::FrameType::kHeaders, h2::flag::kEndHeaders, 3,
               to_server.block({{":method", "POST"},
                                {":scheme", "https"},
                                {":path", "/v1/chat/completions"},
                                {":authority", "api.openai.com"}})) +
         frame(h2::FrameType::kData, h2::flag::kEndStream, 3, body));
  server(frame(h2::FrameType::kData, 0, 1, answer.substr(20)));
  ASSERT_EQ(2u, sink.done.size()) << "the handshake and the turn";
  EXPECT_EQ("realtime", sink.done[1].operation);
  EXPECT_EQ("gpt-realtime", sink.done[1].request_model);
  EXPECT_EQ(12u, sink.done[1].usage.input_tokens);
  EXPECT_EQ(model::UsageStatus::kExact, sink.done[1].usage_status);
  EXPECT_EQ(200u, sink.done[1].status);
  // A turn under way when its stream is reset is incomplete; the connection goes on.
  client(socket_frame(1, true, R"({"type":"response.create"})"));
  client(frame(h2::FrameType::kRstStream, 0, 1, std::string(4, '\0')));
  ASSERT_EQ(3u, sink.done.size());
  EXPECT_EQ(model::UsageStatus::kIncomplete, sink.done[2].usage_status);
  server(frame(h2::FrameType::kHeaders, h2::flag::kEndHeaders, 3, to_client.block({{":status", "200"}})) +
         frame(h2::FrameType::kData, h2::flag::kEndStream, 3,
               R"({"model":"gpt-4o-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}})"));
  ASSERT_EQ(4u, sink.done.size());
  EXPECT_EQ(4u, sink.done[3].usage.output_tokens);
}

TEST_F(SessionTest, TraceContextOfTheCaller) {
  open();
  const std::string body =
      R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","_meta":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"}}})";
  const auto request = [&body](std::string_view path) {
    return fmt::format(
        "POST {} HTTP/1.1\r\nhost: tools.example\r\ntraceparent: "
        "00-4bf92f3577b34da6a3ce929d0e0e4736-b7ad6b7169203331-00\r\ncontent-length: {}\r\n\r\n{}",
        path, body.size(), body);
  };
  client(request("/mcp"));
  server("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
  ASSERT_EQ(1u, sink.done.size());
  // The message's own, which is closer to the call than its transport's.
  EXPECT_EQ("0af7651916cd43dd8448eb211c80319c", sink.done[0].trace.trace_id);
  EXPECT_EQ("00f067aa0ba902b7", sink.done[0].trace.parent_id);
  EXPECT_TRUE(sink.done[0].trace.sampled);
}

}  // namespace
}  // namespace penstock::parsers::session
