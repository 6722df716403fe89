// What a connection costs: nothing per server-sent event, and little while it is idle.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "parsers/session/session.h"
#include "parsers/wire/http2/frame_reader.h"
#include "parsers/wire/http2/testing.h"
#include "parsers/wire/testing.h"

namespace penstock::parsers::session {
namespace {

constexpr std::size_t kIdleBytes = 32 * 1024;

struct Counter final : ExchangeSink {
  std::size_t done = 0;
  std::uint64_t text_bytes = 0;
  void on_request_head(model::Exchange&) override {}
  void on_request(model::Exchange&, std::uint64_t) override {}
  void on_progress(model::Exchange& exchange) override { text_bytes = exchange.output_text_bytes; }
  void on_complete(model::Exchange&) override { ++done; }
};

struct Api {
  std::string_view name, host, path, request, begin, event;
};

constexpr Api kApis[] = {
    {"chat", "api.openai.com", "/v1/chat/completions", R"({"model":"gpt-4o","stream":true,"messages":[]})",
     R"({"id":"c1","object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]})",
     R"({"id":"c1","object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}],"usage":null})"},
    {"responses", "api.openai.com", "/v1/responses", R"({"model":"gpt-5","stream":true,"input":"x"})",
     R"({"type":"response.created","response":{"id":"r1","model":"gpt-5","status":"in_progress"}})",
     R"({"type":"response.output_text.delta","item_id":"m1","output_index":0,"content_index":0,"delta":"word "})"},
    {"messages", "api.anthropic.com", "/v1/messages",
     R"({"model":"claude-sonnet-4-5","stream":true,"max_tokens":9,"messages":[]})",
     R"({"type":"message_start","message":{"id":"m1","model":"claude-sonnet-4-5","content":[],"usage":{"input_tokens":9,"output_tokens":1}}})",
     R"({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"word "}})"},
    {"gemini", "generativelanguage.googleapis.com", "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
     R"({"contents":[]})",
     R"({"candidates":[{"content":{"parts":[{"text":"word "}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9},"modelVersion":"gemini-2.5-flash"})",
     R"({"candidates":[{"content":{"parts":[{"text":"word "}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":3},"modelVersion":"gemini-2.5-flash"})"},
};

class Line {
 public:
  explicit Line(Counter& sink)
      : parser_(
            make_connection_parser({.host = "", .port = 443, .address = "203.0.113.7", .provider = ""}, false, sink)) {}
  void client(std::string_view bytes) { feed(Direction::kToServer, bytes, sent_); }
  void server(std::string_view bytes) { feed(Direction::kToClient, bytes, received_); }

 private:
  void feed(Direction direction, std::string_view bytes, std::uint64_t& at) {
    parser_->feed(direction, at, wire::testing::bytes(bytes), ++now_ns_);
    at += bytes.size();
  }
  std::unique_ptr<ConnectionParser> parser_;
  std::uint64_t sent_ = 0, received_ = 0, now_ns_ = 0;
};

std::string chunk(std::string_view data) { return fmt::format("{:x}\r\ndata: {}\n\n\r\n", data.size() + 8, data); }

std::string request(const Api& api) {
  return fmt::format("POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
                     api.path, api.host, api.request.size(), api.request);
}

constexpr std::string_view kStreamHead =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

TEST(AllocationTest, NonePerServerSentEvent) {
  for (const Api& api : kApis) {
    SCOPED_TRACE(api.name);
    Counter sink;
    Line line(sink);
    line.client(request(api));
    line.server(kStreamHead);
    line.server(chunk(api.begin));
    const std::string event = chunk(api.event);
    for (int i = 0; i < 3; ++i) line.server(event);
    const std::size_t before = wire::testing::allocations();
    const std::uint64_t text_before = sink.text_bytes;
    for (int i = 0; i < 1000; ++i) line.server(event);
    EXPECT_EQ(before, wire::testing::allocations());
    EXPECT_EQ(5000u, sink.text_bytes - text_before) << "they were read";
  }
}

TEST(AllocationTest, AnIdleConnectionKeepsLittle) {
  for (const Api& api : kApis) {
    SCOPED_TRACE(api.name);
    Counter sink;
    const std::size_t before = wire::testing::live_bytes();
    Line line(sink);
    for (int call = 0; call < 20; ++call) {
      line.client(request(api));
      line.server(kStreamHead);
      for (int i = 0; i < 50; ++i) line.server(chunk(api.event));
      line.server("0\r\n\r\n");
    }
    EXPECT_EQ(20u, sink.done);
    EXPECT_LE(wire::testing::live_bytes() - before, kIdleBytes);
    RecordProperty(std::string(api.name), static_cast<int>(wire::testing::live_bytes() - before));
  }
}

TEST(AllocationTest, AnIdleHttp2ConnectionKeepsLittle) {
  namespace h2 = wire::http2;
  using h2::testing::frame;
  Counter sink;
  const std::size_t before = wire::testing::live_bytes();
  {
    Line line(sink);
    h2::testing::Encoder to_server, to_client;
    line.client(std::string(h2::kClientPreface) + frame(h2::FrameType::kSettings, 0, 0, ""));
    line.server(frame(h2::FrameType::kSettings, 0, 0, ""));
    for (std::uint32_t stream = 1; stream < 40; stream += 2) {
      line.client(frame(h2::FrameType::kHeaders, h2::flag::kEndHeaders, stream,
                        to_server.block({{":method", "POST"},
                                         {":scheme", "https"},
                                         {":path", "/v1/chat/completions"},
                                         {":authority", "api.openai.com"},
                                         {"x-request", std::string(300, 'x')}})) +
                  frame(h2::FrameType::kData, h2::flag::kEndStream, stream, kApis[0].request));
      line.server(frame(h2::FrameType::kHeaders, h2::flag::kEndHeaders, stream,
                        to_client.block({{":status", "200"}, {"content-type", "text/event-stream"}})));
      for (int i = 0; i < 50; ++i)
        line.server(frame(h2::FrameType::kData, 0, stream, fmt::format("data: {}\n\n", kApis[0].event)));
      line.server(frame(h2::FrameType::kData, h2::flag::kEndStream, stream, ""));
    }
    EXPECT_EQ(20u, sink.done);
    // Beside it nghttp2's two header tables of 4 KiB each, which are not allocated with new.
    EXPECT_LE(wire::testing::live_bytes() - before, kIdleBytes - 2 * 8 * 1024);
  }
}

// A line, a document or a prompt that does not end is read, and not kept.
TEST(AllocationTest, AHundredMegabytesOfOneStringKeepLittle) {
  struct Long {
    std::string_view name, host, path, type, begin;
  };
  constexpr Long kAnswers[] = {
      {"document", "api.openai.com", "/v1/chat/completions", "application/json",
       R"({"model":"m","choices":[{"index":0,"message":{"content":")"},
      {"event", "api.openai.com", "/v1/chat/completions", "text/event-stream",
       R"(data: {"model":"m","choices":[{"index":0,"delta":{"content":")"},
      {"line", "203.0.113.7", "/api/chat", "application/x-ndjson", R"({"model":"m","message":{"content":")"},
      {"element", "generativelanguage.googleapis.com", "/v1beta/models/m:streamGenerateContent", "application/json",
       R"([{"candidates":[{"content":{"parts":[{"text":")"},
      {"key", "api.openai.com", "/v1/chat/completions", "application/json", R"({")"},
      {"number", "api.openai.com", "/v1/chat/completions", "application/json", R"({"usage":{"prompt_tokens":)"},
  };
  const std::string piece(1 << 20, '7');
  for (const Long& answer : kAnswers) {
    SCOPED_TRACE(answer.name);
    Counter sink;
    const std::size_t before = wire::testing::live_bytes();
    Line line(sink);
    line.client(fmt::format("POST {} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{}", answer.path, answer.host,
                            std::string_view(R"({"model":"m","messages":[{"content":")").size() + (100 << 20),
                            R"({"model":"m","messages":[{"content":")"));
    for (int i = 0; i < 100; ++i) line.client(piece);
    EXPECT_LE(wire::testing::live_bytes() - before, 2 * kIdleBytes) << "the prompt";
    line.server(fmt::format("HTTP/1.1 200 OK\r\ncontent-type: {}\r\n\r\n{}", answer.type, answer.begin));
    for (int i = 0; i < 100; ++i) line.server(piece);
    EXPECT_LE(wire::testing::live_bytes() - before, 2 * kIdleBytes) << "the answer";
    EXPECT_EQ(0u, sink.done);
  }
}

}  // namespace
}  // namespace penstock::parsers::session
