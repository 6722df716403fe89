// Bytes per second and core of the wire parsers, over what agents send and receive. `copy` is the machine's own speed
// at moving the same bytes, so that figures of different machines can be compared. Counters: `allocs` is allocations
// per iteration once warm.
#include <benchmark/benchmark.h>
#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include <random>

#include "parsers/wire/eventstream/eventstream.h"
#include "parsers/wire/eventstream/testing.h"
#include "parsers/wire/http1/http1.h"
#include "parsers/wire/http2/http2.h"
#include "parsers/wire/http2/testing.h"
#include "parsers/wire/inflate/inflate.h"
#include "parsers/wire/json/digest.h"
#include "parsers/wire/sse/sse.h"
#include "parsers/wire/testing.h"
#include "parsers/wire/websocket/testing.h"
#include "parsers/wire/websocket/websocket.h"

namespace penstock::parsers::wire {
namespace {

constexpr std::size_t kPiece = 16 * 1024;  // a TLS record

// A chat request: a system prompt, tools, and messages of source code and prose as JSON writes them.
std::string request_body(std::size_t size) {
  static constexpr std::string_view kLines[] = {
      "  if (value == nullptr) return error(\\\"missing value\\\");\\n",
      "The quick brown fox jumps over the lazy dog, and then explains why it did so at some length. ",
      "\\tfor (std::size_t i = 0; i < items.size(); ++i) total += items[i].tokens;\\n",
      "def handler(event, context):\\n    return {\\\"statusCode\\\": 200}\\n",
      "It was the best of times, it was the worst of times, it was the age of wisdom. ",
      "Ein Satz mit \u00dcmlauten und ein Preis von 3 \u20ac. ",
  };
  std::mt19937 random(5);
  std::string out =
      R"({"model":"claude-sonnet-4-5","max_tokens":4096,"stream":true,"system":"You are a coding agent.","tools":[)";
  for (int i = 0; i < 12; ++i) {
    out +=
        (i == 0 ? "" : ",") + std::string(R"({"name":"tool_)") + std::to_string(i) +
        R"(","description":"Reads a file.","input_schema":{"type":"object","properties":{"path":{"type":"string"}}}})";
  }
  out += R"(],"messages":[)";
  bool first = true;
  while (out.size() < size) {
    out += (first ? "" : ",") + std::string(R"({"role":"user","content":[{"type":"text","text":")");
    first = false;
    const std::size_t end = std::min(size, out.size() + 8000);
    while (out.size() < end) out += kLines[random() % std::size(kLines)];
    out += R"("}]})";
  }
  return out + "]}";
}

std::string sse_body(std::size_t events) {
  static constexpr std::string_view kTokens[] = {"Hello", " world", ",", " the", " quick", "\\n", " brown", " fox"};
  std::string out;
  for (std::size_t i = 0; i < events; ++i) {
    out +=
        R"(data: {"id":"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWx","object":"chat.completion.chunk","created":1730000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":{"content":")";
    out += kTokens[i % std::size(kTokens)];
    out += "\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";
  }
  return out + "data: [DONE]\n\n";
}

template <class Feed>
void in_pieces(std::string_view text, Feed&& feed) {
  for (std::size_t at = 0; at < text.size(); at += kPiece) feed(text.substr(at, kPiece));
}

class Measure {
 public:
  Measure(benchmark::State& state, std::size_t bytes) : state_(state), bytes_(bytes), before_(testing::allocations()) {}
  ~Measure() {
    state_.SetBytesProcessed(static_cast<std::int64_t>(state_.iterations()) * static_cast<std::int64_t>(bytes_));
    state_.counters["allocs"] =
        benchmark::Counter(static_cast<double>(testing::allocations() - before_), benchmark::Counter::kAvgIterations);
  }

 private:
  benchmark::State& state_;
  std::size_t bytes_;
  std::size_t before_;
};

struct DigestSse final : sse::Sink {
  json::Digest digest;
  std::uint64_t events = 0;
  void on_data(std::string_view piece) override { digest.feed(piece); }
  void on_field(std::string_view, std::string_view, bool) override {}
  void on_event(const sse::Event&) override {
    benchmark::DoNotOptimize(digest["usage"]["completion_tokens"].as_uint());
    ++events;
    digest.clear();
  }
};

// Everything an HTTP body goes through: framing, then the reader of its content.
struct BodySink final : http::Sink {
  std::function<void(std::span<const std::uint8_t>)> body;
  void on_request_head(http::StreamId, const http::RequestHead&, std::uint64_t) override {}
  void on_request_body(http::StreamId, std::span<const std::uint8_t> bytes, std::uint64_t) override { body(bytes); }
  void on_request_end(http::StreamId, const http::Fields&, std::uint64_t) override {}
  void on_response_head(http::StreamId, const http::ResponseHead&, std::uint64_t) override {}
  void on_response_body(http::StreamId, std::span<const std::uint8_t> bytes, std::uint64_t) override { body(bytes); }
  void on_response_end(http::StreamId, const http::Fields&, http::End) override {}
  void on_loss(http::StreamId, Direction, std::uint64_t) override {}
};

void copy(benchmark::State& state) {
  const std::string text = request_body(static_cast<std::size_t>(state.range(0)));
  std::string to(kPiece, '\0');
  Measure measure(state, text.size());
  for (auto _ : state) {
    in_pieces(text, [&](std::string_view piece) { piece.copy(to.data(), piece.size()); });
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
}
BENCHMARK(copy)->Arg(512 << 10);

void json_request(benchmark::State& state) {
  const std::string text = request_body(static_cast<std::size_t>(state.range(0)));
  json::Digest digest;
  Measure measure(state, text.size());
  for (auto _ : state) {
    digest.clear();
    in_pieces(text, [&](std::string_view piece) { digest.feed(piece); });
    benchmark::DoNotOptimize(digest["messages"].text_bytes());
  }
}
BENCHMARK(json_request)->Arg(32 << 10)->Arg(512 << 10)->Arg(4 << 20);

void json_request_over_http1(benchmark::State& state) {
  const std::string text = request_body(static_cast<std::size_t>(state.range(0)));
  const std::string message =
      "POST /v1/messages HTTP/1.1\r\nHost: api.anthropic.com\r\nContent-Type: application/json\r\n"
      "Content-Length: " +
      std::to_string(text.size()) + "\r\n\r\n" + text;
  json::Digest digest;
  BodySink sink;
  sink.body = [&](std::span<const std::uint8_t> bytes) { digest.feed(testing::text(bytes)); };
  Measure measure(state, message.size());
  for (auto _ : state) {
    digest.clear();
    http1::Connection connection(sink);
    std::uint64_t pos = 0;
    in_pieces(message, [&](std::string_view piece) {
      connection.feed(Direction::kToServer, pos, testing::bytes(piece));
      pos += piece.size();
    });
    benchmark::DoNotOptimize(digest["model"].as_string());
  }
}
BENCHMARK(json_request_over_http1)->Arg(32 << 10)->Arg(512 << 10)->Arg(4 << 20);

void json_request_over_http2(benchmark::State& state) {
  const std::string text = request_body(static_cast<std::size_t>(state.range(0)));
  http2::testing::Encoder encoder;
  std::string wire = std::string(http2::kClientPreface) + http2::testing::frame(http2::FrameType::kSettings, 0, 0, "") +
                     http2::testing::frame(http2::FrameType::kHeaders, http2::flag::kEndHeaders, 1,
                                           encoder.block({{":method", "POST"}, {":path", "/v1/messages"}}));
  for (std::size_t at = 0; at < text.size(); at += 16384) {
    const bool last = at + 16384 >= text.size();
    wire += http2::testing::frame(http2::FrameType::kData, last ? http2::flag::kEndStream : std::uint8_t{0}, 1,
                                  std::string_view(text).substr(at, 16384));
  }
  json::Digest digest;
  BodySink sink;
  sink.body = [&](std::span<const std::uint8_t> bytes) { digest.feed(testing::text(bytes)); };
  Measure measure(state, wire.size());
  for (auto _ : state) {
    digest.clear();
    http2::Connection connection(sink);
    std::uint64_t pos = 0;
    in_pieces(wire, [&](std::string_view piece) {
      connection.feed(Direction::kToServer, pos, testing::bytes(piece));
      pos += piece.size();
    });
    benchmark::DoNotOptimize(digest["model"].as_string());
  }
}
BENCHMARK(json_request_over_http2)->Arg(32 << 10)->Arg(512 << 10)->Arg(4 << 20);

void json_request_over_websocket(benchmark::State& state) {
  const std::string text = request_body(static_cast<std::size_t>(state.range(0)));
  const std::string wire = websocket::testing::frame(0x81, text, true);
  struct Sink final : websocket::Sink {
    json::Digest digest;
    void on_message_begin(Direction, websocket::Opcode, std::uint64_t) override { digest.clear(); }
    void on_message_data(Direction, std::span<const std::uint8_t> bytes) override { digest.feed(testing::text(bytes)); }
    void on_message_end(Direction, bool, std::uint64_t) override {}
  } sink;
  Measure measure(state, wire.size());
  for (auto _ : state) {
    websocket::Connection connection(sink, {});
    std::uint64_t pos = 0;
    in_pieces(wire, [&](std::string_view piece) {
      connection.feed(Direction::kToServer, pos, testing::bytes(piece));
      pos += piece.size();
    });
  }
}
BENCHMARK(json_request_over_websocket)->Arg(512 << 10);

void sse_tokens(benchmark::State& state) {
  const std::string text = sse_body(1000);
  DigestSse sink;
  sse::Parser parser(sink);
  parser.feed(text);
  Measure measure(state, text.size());
  for (auto _ : state) in_pieces(text, [&](std::string_view piece) { parser.feed(piece); });
  state.counters["events"] = benchmark::Counter(static_cast<double>(sink.events), benchmark::Counter::kIsRate);
}
BENCHMARK(sse_tokens);

void sse_framing_alone(benchmark::State& state) {
  const std::string text = sse_body(1000);
  struct Sink final : sse::Sink {
    void on_data(std::string_view piece) override { benchmark::DoNotOptimize(piece.data()); }
    void on_field(std::string_view, std::string_view, bool) override {}
    void on_event(const sse::Event&) override {}
  } sink;
  sse::Parser parser(sink);
  Measure measure(state, text.size());
  for (auto _ : state) in_pieces(text, [&](std::string_view piece) { parser.feed(piece); });
}
BENCHMARK(sse_framing_alone);

// One event per chunk and per read, as a model's tokens arrive.
void sse_tokens_over_chunked_http1(benchmark::State& state) {
  const std::string text = sse_body(1000);
  std::vector<std::string> pieces = {
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"};
  std::size_t total = pieces[0].size();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find("\n\n", at) + 2;
    char size[32];
    std::snprintf(size, sizeof size, "%zx\r\n", end - at);
    pieces.push_back(size + text.substr(at, end - at) + "\r\n");
    total += pieces.back().size();
    at = end;
  }
  pieces.push_back("0\r\n\r\n");
  DigestSse events;
  sse::Parser parser(events);
  BodySink sink;
  sink.body = [&](std::span<const std::uint8_t> bytes) { parser.feed(testing::text(bytes)); };
  Measure measure(state, total);
  for (auto _ : state) {
    http1::Connection connection(sink);
    std::uint64_t pos = 0;
    for (const std::string& piece : pieces) {
      connection.feed(Direction::kToClient, pos, testing::bytes(piece));
      pos += piece.size();
    }
  }
}
BENCHMARK(sse_tokens_over_chunked_http1);

void event_stream(benchmark::State& state) {
  std::string stream;
  for (int i = 0; i < 1000; ++i) {
    stream += eventstream::testing::message(
        {{":event-type", "contentBlockDelta"}, {":content-type", "application/json"}, {":message-type", "event"}},
        R"({"contentBlockIndex":0,"delta":{"text":" token"},"p":"abcdefghijklmnopqrstuvwxyz"})");
  }
  struct Sink final : eventstream::Sink {
    json::Digest digest;
    void on_message_begin(const eventstream::Headers&, std::uint32_t) override { digest.clear(); }
    void on_payload(std::span<const std::uint8_t> bytes) override { digest.feed(testing::text(bytes)); }
    void on_message_end(bool) override { benchmark::DoNotOptimize(digest["usage"]["inputTokens"].as_uint()); }
  } sink;
  eventstream::Parser parser(sink);
  Measure measure(state, stream.size());
  for (auto _ : state) in_pieces(stream, [&](std::string_view piece) { parser.feed(testing::bytes(piece)); });
}
BENCHMARK(event_stream);

std::string compressed(std::string_view coding, std::string_view text) {
  std::string out(text.size() + 1024, '\0');
  std::size_t size = out.size();
  if (coding == "gzip") {
    z_stream stream{};
    deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(size);
    deflate(&stream, Z_FINISH);
    size = stream.total_out;
    deflateEnd(&stream);
  } else if (coding == "br") {
    BrotliEncoderCompress(5, 22, BROTLI_MODE_TEXT, text.size(), testing::bytes(text).data(), &size,
                          reinterpret_cast<std::uint8_t*>(out.data()));
  } else {
    size = ZSTD_compress(out.data(), size, text.data(), text.size(), 3);
  }
  out.resize(size);
  return out;
}

void inflate_sse(benchmark::State& state, const std::string& coding) {
  const std::string text = sse_body(1000);
  const std::string body = compressed(coding, text);
  struct Out final : inflate::Output {
    std::uint64_t bytes = 0;
    void on_inflated(std::span<const std::uint8_t> piece) override { bytes += piece.size(); }
  } out;
  Measure measure(state, text.size());
  for (auto _ : state) {
    inflate::Decoder decoder(coding);
    in_pieces(body, [&](std::string_view piece) { decoder.feed(testing::bytes(piece), out); });
  }
  state.counters["ratio"] = static_cast<double>(text.size()) / static_cast<double>(body.size());
}
BENCHMARK_CAPTURE(inflate_sse, gzip, std::string("gzip"));
BENCHMARK_CAPTURE(inflate_sse, br, std::string("br"));
BENCHMARK_CAPTURE(inflate_sse, zstd, std::string("zstd"));

// Many small requests on one HTTP/2 connection: header blocks rather than bodies.
void http2_requests(benchmark::State& state) {
  http2::testing::Encoder encoder;
  BodySink sink;
  sink.body = [](std::span<const std::uint8_t>) {};
  http2::Connection connection(sink);
  const std::string hello =
      std::string(http2::kClientPreface) + http2::testing::frame(http2::FrameType::kSettings, 0, 0, "");
  connection.feed(Direction::kToServer, 0, testing::bytes(hello));
  std::uint64_t pos = hello.size();
  std::uint64_t back = 0;
  const http2::testing::FieldList fields = {{":method", "POST"},
                                            {":scheme", "https"},
                                            {":authority", "api.openai.com"},
                                            {":path", "/v1/chat/completions"},
                                            {"content-type", "application/json"},
                                            {"authorization", "Bearer sk-0123456789"},
                                            {"user-agent", "bench/1.0"}};
  encoder.block(fields);  // the first one fills the table; the connection sees it as the first request below
  http2::testing::Encoder fresh;
  std::string first = http2::testing::frame(http2::FrameType::kHeaders, 5, 1, fresh.block(fields));
  connection.feed(Direction::kToServer, pos, testing::bytes(first));
  pos += first.size();
  std::uint32_t id = 3;
  const std::string block = fresh.block(fields);
  const std::string answer_block = "\x88";
  for (auto _ : state) {
    const std::string request = http2::testing::frame(http2::FrameType::kHeaders, 5, id, block);
    const std::string answer = http2::testing::frame(http2::FrameType::kHeaders, 5, id, answer_block);
    connection.feed(Direction::kToServer, pos, testing::bytes(request));
    connection.feed(Direction::kToClient, back, testing::bytes(answer));
    pos += request.size();
    back += answer.size();
    id += 2;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(http2_requests);

// What a connection holds between two exchanges, counted by its allocations and its own size.
void idle_state(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(sizeof(http1::Connection));
  state.counters["http1_bytes"] = static_cast<double>(sizeof(http1::Connection));
  state.counters["http2_bytes"] = static_cast<double>(sizeof(http2::Connection));
  state.counters["digest_bytes"] = static_cast<double>(sizeof(json::Digest));
  state.counters["sse_bytes"] = static_cast<double>(sizeof(sse::Parser));
  state.counters["websocket_bytes"] = static_cast<double>(sizeof(websocket::Connection));
}
BENCHMARK(idle_state);

}  // namespace
}  // namespace penstock::parsers::wire
