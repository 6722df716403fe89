// llhttp's vectors: Markdown with the bytes and the callbacks that they cause. Both sides are reduced to what a message
// means: start line, fields, body, whether it was complete, and whether the input was refused.
#include <gtest/gtest.h>

#include <set>

#include "parsers/wire/http1/http1.h"
#include "parsers/wire/testing.h"
#include "parsers/wire/vectors.h"

namespace penstock::parsers::wire::http1 {
namespace {

using testing::bytes;
using testing::feed_every_way;
using testing::Pieces;

struct Vector {
  std::string file, title, type, input, log;
};

// "\r\n" for every line end, then the escapes, as the vectors' own runner does.
std::string unescape(std::string text) {
  if (text.ends_with('\n')) text.pop_back();
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (c == '\n') {
      out += "\r\n";
    } else if (c != '\\') {
      out += c;
    } else if (next == '\n') {
      ++i;
    } else if (next == 'r' || next == 'n' || next == 't' || next == 'f') {
      out += next == 'r' ? '\r' : next == 'n' ? '\n' : next == 't' ? '\t' : '\f';
      ++i;
    } else if (next == 'x') {
      std::size_t end = i + 2;
      while (end < text.size() && std::isxdigit(static_cast<unsigned char>(text[end])) != 0) ++end;
      const auto code = static_cast<unsigned>(std::stoul(text.substr(i + 2, end - i - 2), nullptr, 16));
      if (code >= 0x80) out += static_cast<char>(0xc0 | (code >> 6));  // the vectors are text: UTF-8
      out += static_cast<char>(code >= 0x80 ? 0x80 | (code & 0x3f) : code);
      i = end - 1;
    } else {
      out += c;
    }
  }
  return out;
}

std::vector<Vector> vectors() {
  std::vector<Vector> all;
  for (const auto& path : testing::vector_files("llhttp/test")) {
    if (path.extension() != ".md" || path.filename() == "url.md") continue;
    std::istringstream in(testing::read_file(path));
    Vector current;
    std::string line, block;
    bool in_block = false;
    std::string kind;
    while (std::getline(in, line)) {
      if (in_block) {
        if (line == "```") {
          in_block = false;
          if (kind == "http") current.input = unescape(block);
          if (kind == "log") {
            current.log = block;
            all.push_back(current);
          }
        } else {
          block += line + "\n";
        }
      } else if (line.starts_with("```")) {
        kind = line.substr(3);
        in_block = true;
        block.clear();
      } else if (line.starts_with("#")) {
        current = {path.parent_path().filename().string() + "/" + path.filename().string(),
                   line.substr(line.find_first_not_of("# ")), "", "", ""};
      } else if (line.starts_with("<!-- meta=")) {
        const std::size_t at = line.find("\"type\"");
        const std::size_t open = line.find('"', line.find(':', at));
        current.type = line.substr(open + 1, line.find('"', open + 1) - open - 1);
      }
    }
  }
  return all;
}

struct Outcome {
  std::string messages;
  bool refused = false;
};

// The callbacks of llhttp.
Outcome reduce(const Vector& vector) {
  Outcome out;
  std::istringstream in(vector.log);
  std::string line, name, value, start, head, body, trailers;
  bool headers_done = false;
  while (std::getline(in, line)) {
    const std::size_t span = line.find("span[");
    if (line.find("message begin") != std::string::npos) {
      start = head = body = trailers = name = value = "";
      headers_done = false;
    } else if (span != std::string::npos) {
      const std::string kind = line.substr(span + 5, line.find(']', span) - span - 5);
      const std::size_t offset = std::stoul(line.substr(4));
      const std::size_t length = std::stoul(line.substr(line.find("len=") + 4));
      const std::string content = vector.input.substr(offset, length);
      if (kind == "method" || kind == "url") start += content + " ";
      if (kind == "header_field") name += content;
      if (kind == "header_value") value += (value.empty() ? "" : " ") + std::string(http::trim(content));
      if (kind == "body") body += content;
    } else if (line.find("header_value complete") != std::string::npos) {
      std::string lower;
      for (const char c : name) lower.push_back(static_cast<char>(std::tolower(c)));
      (headers_done ? trailers : head) += "|" + lower + ":" + value;
      name = value = "";
    } else if (line.find("headers complete") != std::string::npos) {
      headers_done = true;
      const std::size_t status = line.find("status=");
      if (status != std::string::npos) start = line.substr(status + 7, line.find(' ', status) - status - 7) + " ";
    } else if (line.find("message complete") != std::string::npos) {
      out.messages += start + head + "\n" + body + "\n" + trailers + "\n";
    } else if (line.find("error code=") != std::string::npos) {
      // 21 to 23: llhttp asks its user what to do with an upgrade.
      const int code = std::stoi(line.substr(line.find("code=") + 5));
      out.refused = code < 21 || code > 23;
    }
  }
  return out;
}

// Ours, reduced the same way.
struct Reducer : http::Sink {
  Outcome out;
  std::string start, head, body;
  static std::string fields(const http::Fields& fields) {
    std::string text;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      text += "|" + std::string(fields[i].name) + ":" + std::string(fields[i].value);
    }
    return text;
  }
  void on_request_head(http::StreamId, const http::RequestHead& request, std::uint64_t) override {
    start = request.method + " " + request.target + " ";
    head = fields(request.fields);
    body.clear();
  }
  void on_request_body(http::StreamId, std::span<const std::uint8_t> bytes, std::uint64_t) override {
    body += testing::text(bytes);
  }
  void message(const std::string& text) {
    if (!out.refused) out.messages += text;  // llhttp stops there
  }
  void on_request_end(http::StreamId, const http::Fields& trailers, std::uint64_t) override {
    message(start + head + "\n" + body + "\n" + fields(trailers) + "\n");
  }
  void on_response_head(http::StreamId, const http::ResponseHead& response, std::uint64_t) override {
    start = std::to_string(response.status) + " ";
    head = fields(response.fields);
    body.clear();
  }
  void on_response_body(http::StreamId, std::span<const std::uint8_t> bytes, std::uint64_t) override {
    body += testing::text(bytes);
  }
  void on_response_end(http::StreamId, const http::Fields& trailers, http::End end) override {
    if (end == http::End::kComplete && !tunnel) message(start + head + "\n" + body + "\n" + fields(trailers) + "\n");
  }
  void on_interim(http::StreamId, const http::ResponseHead& response) override {
    message(std::to_string(response.status) + " " + fields(response.fields) + "\n\n\n");
  }
  bool tunnel = false;
  void on_tunnel_begin(http::StreamId, const http::ResponseHead&) override {
    message(start + head + "\n\n\n");
    tunnel = true;
  }
  void on_loss(http::StreamId, Direction, std::uint64_t) override {}
  void on_invalid(Direction, std::string_view) override { out.refused = true; }
};

// Where we differ on purpose, and why.
bool differs(const std::string& where) {
  static const std::set<std::string> kTitles = {
      // RFC 9110 §9.1: methods are open-ended; llhttp knows a list.
      "request/invalid.md: HTTP protocol and ANNOUNCE method",
      "request/invalid.md: Invalid method",
      // ICE, RTSP, HTTP/0.9 and HTTP/2 are not HTTP/1.
      "request/method.md: SOURCE request with ICE",
      "request/method.md: OPTIONS request with RTSP",
      "request/method.md: ANNOUNCE request with RTSP",
      "request/method.md: PRI request HTTP2",
      "request/sample.md: No HTTP version",
      "response/sample.md: RTSP response",
      "response/sample.md: ICE response",
      "response/sample.md: HTTP version 0.9",
      // Clients send them and servers accept them.
      "request/uri.md: Disallow UTF-8 in URI path in strict mode",
      // The user of llhttp has said that there is no body; the log of a body until the end is cut there.
      "request/content-length.md: Content-Length reset when no body is received",
      "response/content-length.md: Content-Length reset when no body is received",
      "response/finish.md: It should be safe to finish with cb after empty response",
  };
  return kTitles.contains(where);
}

Outcome read(const Vector& vector) {
  Outcome outcome;
  const bool request = vector.type.starts_with("request");
  feed_every_way(vector.input, [&](const Pieces& pieces) {
    Reducer reducer;
    Connection connection(reducer, {.bare_line_feed = vector.type.find("optional-cr-before-lf") != std::string::npos});
    if (!request) connection.feed(Direction::kToServer, 0, bytes("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"));
    reducer.out = {};
    std::uint64_t pos = 0;
    for (const std::string_view piece : pieces) {
      connection.feed(request ? Direction::kToServer : Direction::kToClient, pos, bytes(piece));
      pos += piece.size();
    }
    if (vector.type.ends_with("finish")) connection.close();
    outcome = reducer.out;
    return outcome.messages + (outcome.refused ? "refused" : "");
  });
  return outcome;
}

TEST(Http1Conformance, LlhttpVectors) {
  std::size_t compared = 0, differences = 0;
  for (const Vector& vector : vectors()) {
    const bool strict = vector.type == "request" || vector.type == "response" || vector.type.ends_with("finish") ||
                        vector.type.ends_with("optional-cr-before-lf");
    if (!strict) continue;  // leniencies that are not ours
    const std::string where = vector.file + ": " + vector.title;
    if (differs(where)) {
      ++differences;
      continue;
    }
    const Outcome theirs = reduce(vector);
    Outcome ours = read(vector);
    if (theirs.refused && !ours.refused) {
      // llhttp refuses at the first wrong byte, we when the head ends: let it end.
      Vector ended = vector;
      ended.input += "\r\n\r\n";
      ours = read(ended);
    }
    EXPECT_EQ(ours.messages, theirs.messages) << where << "\n" << vector.input;
    EXPECT_EQ(ours.refused, theirs.refused) << where << "\n" << vector.input;
    ++compared;
  }
  EXPECT_GT(compared, 150u);
  EXPECT_EQ(differences, 14u);
}

}  // namespace
}  // namespace penstock::parsers::wire::http1
