// For tests: reads requests from standard input, each behind its length (4 bytes, big endian), and writes what they
// mean, one line each: the messages as JSON, and whether the bytes were refused. node_test.js writes the same with
// Node's parser.
#include <cstdio>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "parsers/wire/http1/http1.h"

using namespace penstock::parsers;
using namespace penstock::parsers::wire;

namespace {

std::string hex(std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

struct Sink final : http::Sink {
  std::string messages, current, body;
  bool refused = false;
  static std::string fields(const http::Fields& fields) {
    std::string out;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      out += (i == 0 ? "" : ",") + hex(fields[i].name) + ":" + hex(fields[i].value);
    }
    return out;
  }
  void on_request_head(http::StreamId, const http::RequestHead& head, std::uint64_t) override {
    current = head.method + " " + hex(head.target) + " " + fields(head.fields);
    body.clear();
  }
  void on_request_body(http::StreamId, std::span<const std::uint8_t> bytes, std::uint64_t) override {
    body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void on_request_end(http::StreamId, const http::Fields& trailers, std::uint64_t) override {
    if (!refused) messages += current + " " + hex(body) + " " + fields(trailers) + ";";
  }
  void on_response_head(http::StreamId, const http::ResponseHead&, std::uint64_t) override {}
  void on_response_body(http::StreamId, std::span<const std::uint8_t>, std::uint64_t) override {}
  void on_response_end(http::StreamId, const http::Fields&, http::End) override {}
  void on_loss(http::StreamId, Direction, std::uint64_t) override {}
  void on_invalid(Direction, std::string_view) override { refused = true; }
};

}  // namespace

int main() {
  const std::vector<char> all((std::istreambuf_iterator<char>(std::cin)), {});
  for (std::size_t at = 0; at + 4 <= all.size();) {
    std::size_t size = 0;
    for (int i = 0; i < 4; ++i) size = size << 8 | static_cast<unsigned char>(all[at++]);
    size = std::min(size, all.size() - at);
    Sink sink;
    http1::Connection connection(sink, {.bare_line_feed = false});
    connection.feed(Direction::kToServer, 0, {reinterpret_cast<const std::uint8_t*>(all.data() + at), size});
    std::printf("%s%s\n", sink.messages.c_str(), sink.refused ? "refused" : "");
    at += size;
  }
}
