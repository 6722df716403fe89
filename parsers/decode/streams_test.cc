// Recorded connections of official SDKs, with the segment boundaries of the recording (argument: the folder of *.jsonl
// and expected.jsonl): every request of MCP and A2A, over HTTP/1.1, HTTP/2 with prior knowledge and pipes, in order.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "parsers/decode/testing.h"
#include "parsers/dialects/base64.h"
#include "parsers/dialects/facts.h"
#include "parsers/session/session.h"
#include "parsers/wire/json/digest.h"
#include "userspace/model/names.h"

namespace penstock::parsers::decode {
namespace {

namespace json = wire::json;

json::DigestOptions everything() {
  constexpr std::size_t kAll = std::numeric_limits<std::uint32_t>::max() - 1;
  return {.string_bytes = kAll, .nodes = kAll, .text_bytes = kAll};
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// One line per request, in the order of their beginning.
class Requests final : public ExchangeSink {
 public:
  std::vector<std::string> described;
  void on_request_head(model::Exchange& exchange) override {
    exchange.id = described.size();
    described.emplace_back("open");
  }
  void on_request(model::Exchange&, std::uint64_t) override {}
  void on_progress(model::Exchange&) override {}
  void on_complete(model::Exchange& exchange) override {
    std::string text =
        fmt::format("{} {} {} {}", model::name(exchange.kind), exchange.method, exchange.status, exchange.operation);
    for (const model::ToolCall& call : exchange.tool_calls) text += " " + call.name;
    described[exchange.id] = text;
  }
};

std::vector<std::string> replay(const std::filesystem::path& path, const Endpoint& endpoint) {
  Requests requests;
  const auto parser = session::make_connection_parser(endpoint, false, requests);
  std::uint64_t position[2] = {0, 0};
  std::uint64_t now_ns = 0;
  for (const std::string& line : read_lines(path)) {
    json::Digest read(everything());
    read.feed(line);
    read.finish();
    const bool client = read["dir"].string_or("") == "c2s";
    const std::string bytes = dialects::base64_decode(read["b64"].string_or(""));
    std::uint64_t& at = position[client ? 0 : 1];
    parser->feed(client ? Direction::kToServer : Direction::kToClient, at,
                 {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, ++now_ns);
    at += bytes.size();
  }
  parser->close(++now_ns);
  return requests.described;
}

std::string last_segment(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

TEST(StreamsTest, EveryRequestOfTheSdks) {
  std::size_t connections = 0;
  for (const std::string& line : read_lines(testing::folder() + "/expected.jsonl")) {
    json::Digest expected(everything());
    expected.feed(line);
    ASSERT_EQ(ParseState::kDone, expected.finish());
    const std::string stream(expected["stream"].string_or(""));
    const std::string protocol(expected["protocol"].string_or(""));
    SCOPED_TRACE(stream);
    const auto got = replay(testing::folder() + "/" + stream,
                            {.host = "127.0.0.1", .port = 4300, .address = "127.0.0.1", .provider = ""});
    std::vector<std::string> want;
    for (json::Value exchange : expected["exchanges"].items())
      want.push_back(fmt::format("{} {} {} {}", protocol, exchange["method"].string_or(""),
                                 exchange["status"].as_uint().value_or(0), exchange["operation"].string_or("")));
    for (json::Value call : expected["grpc_calls"].items())
      want.push_back(fmt::format("{} POST 200 {}", protocol, last_segment(call["path"].string_or(""))));
    // Over pipes: the requests of both sides; answers end them, notifications are none.
    for (std::string_view side : {"sent", "received"})
      for (json::Value message : expected[side].items())
        if (message["kind"].string_or("") == "request")
          want.push_back(fmt::format("{}  0 {}", protocol, message["method"].string_or("")));
    ASSERT_EQ(want.size(), got.size());
    std::vector<std::string> left(got);
    for (const std::string& one : want) {
      // The operation is not known of a stream that only listens, and tool names follow it.
      const auto found = std::find_if(left.begin(), left.end(),
                                      [&](const std::string& candidate) { return candidate.starts_with(one); });
      EXPECT_NE(left.end(), found) << "missing: " << one;
      if (found != left.end()) left.erase(found);
    }
    EXPECT_TRUE(left.empty()) << "unexpected: " << (left.empty() ? "" : left.front());
    ++connections;
  }
  EXPECT_EQ(22u, connections);
}

}  // namespace
}  // namespace penstock::parsers::decode

int main(int argc, char** argv) { return penstock::parsers::decode::testing::run_over_folder(argc, argv); }
