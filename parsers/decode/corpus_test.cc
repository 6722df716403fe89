// Properties over recorded traffic (argument: a folder of HAR files). However an answer arrives — byte by byte, split
// anywhere, chunked anew, compressed anew, as HTTP/2 DATA — what is decoded is the same. Cut at any tenth of its
// length, it is the same or a prefix that says `incomplete`: never a wrong number. The seed is fixed.
#include <brotli/encode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "parsers/core/testing.h"
#include "parsers/decode/har.h"
#include "parsers/decode/line.h"
#include "parsers/decode/testing.h"
#include "parsers/session/session.h"
#include "parsers/wire/http2/frame_reader.h"
#include "parsers/wire/http2/testing.h"
#include "parsers/wire/inflate/testing.h"

namespace penstock::parsers::decode {
namespace {

using Random = std::mt19937;

std::size_t pick(Random& random, std::size_t low, std::size_t high) { return low + random() % (high - low + 1); }

struct Collector final : parsers::testing::Completed {
  std::vector<model::Usage> said;  // every state of the counters on the way
  void on_progress(model::Exchange& exchange) override {
    if (said.empty() || said.back() != exchange.usage) said.push_back(exchange.usage);
  }
  void on_complete(model::Exchange& exchange) override {
    if (exchange.kind != model::Kind::kHttp) exchanges.push_back(exchange);
  }
};

std::vector<model::Exchange> decode(const Conversation& conversation, std::size_t piece = 0) {
  Collector collector;
  replay(conversation, *session::make_connection_parser(conversation.endpoint, false, collector), piece);
  return std::move(collector.exchanges);
}

std::vector<model::Exchange> decode_randomly(const Conversation& conversation, Random& random) {
  Conversation cut = conversation;
  cut.steps.clear();
  std::size_t done[2] = {0, 0};
  for (const Conversation::Step& step : conversation.steps) {
    std::size_t& at = done[step.direction == Direction::kToServer ? 0 : 1];
    while (at < step.end) {
      at += std::min(step.end - at, pick(random, 1, 700));
      cut.steps.push_back({step.direction, at});
    }
  }
  return decode(cut);
}

std::string lines(const std::vector<model::Exchange>& exchanges) {
  std::string out;
  for (const model::Exchange& exchange : exchanges) out += exchange_line("", exchange) + "\n";
  return out;
}

// The same exchange with the answer's body transferred otherwise. `framing` replaces the content-length field.
Conversation reframed(const HarEntry& entry, std::string_view framing, std::string_view body) {
  HarEntry without = entry;
  without.content.clear();
  Conversation out = as_http1(without);
  const std::string end = "content-length: 0\r\n\r\n";
  out.to_client.resize(out.to_client.size() - end.size());
  out.steps.pop_back();
  out.append(Direction::kToClient, fmt::format("{}\r\n\r\n{}", framing, body));
  return out;
}

Conversation rechunked(const HarEntry& entry, Random& random) {
  std::string body;
  for (std::size_t at = 0; at < entry.content.size();) {
    const std::size_t size = std::min(entry.content.size() - at, pick(random, 1, 900));
    body += fmt::format("{:x}\r\n{}\r\n", size, std::string_view(entry.content).substr(at, size));
    at += size;
  }
  return reframed(entry, "transfer-encoding: chunked", body + "0\r\n\r\n");
}

std::string brotli(const std::string& content) {
  std::size_t size = BrotliEncoderMaxCompressedSize(content.size()) + 64;
  std::string out(size, '\0');
  EXPECT_EQ(BROTLI_TRUE, BrotliEncoderCompress(4, 20, BROTLI_MODE_TEXT, content.size(),
                                               reinterpret_cast<const std::uint8_t*>(content.data()), &size,
                                               reinterpret_cast<std::uint8_t*>(out.data())));
  out.resize(size);
  return out;
}

std::string zstd(const std::string& content) {
  std::string out(ZSTD_compressBound(content.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), content.data(), content.size(), 3));
  return out;
}

Conversation recoded(const HarEntry& entry, std::string_view coding, const std::string& body) {
  return reframed(entry, fmt::format("content-encoding: {}\r\ncontent-length: {}", coding, body.size()), body);
}

// ---- HTTP/2: literal fields without indexing (RFC 7541), DATA frames of random sizes

namespace h2 = wire::http2;
using h2::FrameType;

void h2_string(std::string& block, std::string_view text) {
  std::size_t size = text.size();
  if (size < 127) {
    block.push_back(static_cast<char>(size));
  } else {
    block.push_back(127);
    for (size -= 127; size >= 128; size >>= 7) block.push_back(static_cast<char>(size % 128 + 128));
    block.push_back(static_cast<char>(size));
  }
  block.append(text);
}

std::string h2_message(const std::vector<HarEntry::Field>& fields, std::string_view body, Random& random) {
  std::string block;
  for (const HarEntry::Field& field : fields) {
    std::string name = field.name;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (name == "upgrade" || name == "keep-alive" || name == "proxy-connection") continue;  // not in HTTP/2
    block.push_back(0);
    h2_string(block, name);
    h2_string(block, field.value);
  }
  std::string out;
  const std::uint8_t end_stream = body.empty() ? h2::flag::kEndStream : 0;
  for (std::size_t at = 0; at == 0 || at < block.size(); at += 16000) {
    const bool last = at + 16000 >= block.size();
    out +=
        h2::testing::frame(at == 0 ? FrameType::kHeaders : FrameType::kContinuation,
                           static_cast<std::uint8_t>((last ? h2::flag::kEndHeaders : 0) | (at == 0 ? end_stream : 0)),
                           1, std::string_view(block).substr(at, 16000));
  }
  while (!body.empty()) {
    const std::size_t size = std::min(body.size(), pick(random, 1, 1500));
    out +=
        h2::testing::frame(FrameType::kData, size == body.size() ? h2::flag::kEndStream : 0, 1, body.substr(0, size));
    body.remove_prefix(size);
  }
  return out;
}

Conversation as_http2(const HarEntry& entry, Random& random) {
  Conversation out;
  out.endpoint = entry.endpoint;
  std::vector<HarEntry::Field> request = {
      {":method", entry.method}, {":scheme", "https"}, {":authority", entry.authority}, {":path", entry.target}};
  request.insert(request.end(), entry.request_fields.begin(), entry.request_fields.end());
  out.append(Direction::kToServer, std::string(h2::kClientPreface) +
                                       h2::testing::frame(FrameType::kSettings, 0, 0, "") +
                                       h2_message(request, entry.request_body, random));
  std::vector<HarEntry::Field> response = {{":status", std::to_string(entry.status)}};
  response.insert(response.end(), entry.response_fields.begin(), entry.response_fields.end());
  out.append(Direction::kToClient, h2::testing::frame(FrameType::kSettings, 0, 0, "") +
                                       h2::testing::frame(FrameType::kSettings, h2::flag::kAck, 0, "") +
                                       h2_message(response, entry.bodiless() ? "" : entry.content, random));
  return out;
}

// ---- a correct prefix

// What the provider had said up to some point of the whole answer; providers correct their own counters on the way, and
// some recordings hold several streams one behind the other.
std::vector<model::Usage> said_on_the_way(const HarEntry& entry) {
  Collector collector;
  const Conversation conversation = as_http1(entry);
  replay(conversation, *session::make_connection_parser(conversation.endpoint, false, collector),
         entry.content.size() < 64 * 1024 ? 1 : 29);
  return std::move(collector.said);
}

void expect_prefix(const model::Exchange& whole, const model::Exchange& cut, const std::vector<model::Usage>& said) {
  if (cut.kind != whole.kind || cut.kind != model::Kind::kLlm) return;  // the part that told its kind is missing
  EXPECT_EQ(whole.provider, cut.provider);
  if (!cut.response_model.empty()) {
    EXPECT_EQ(whole.response_model, cut.response_model);
  }
  if (cut.usage_status == model::UsageStatus::kExact) {
    EXPECT_TRUE(cut.usage == whole.usage || std::find(said.begin(), said.end(), cut.usage) != said.end());
  }
  const auto below = [&](std::optional<std::uint64_t> model::Usage::*counter) {
    std::uint64_t most = (whole.usage.*counter).value_or(0);
    for (const model::Usage& usage : said) most = std::max(most, (usage.*counter).value_or(0));
    EXPECT_LE((cut.usage.*counter).value_or(0), most);
  };
  below(&model::Usage::input_tokens);
  below(&model::Usage::output_tokens);
  below(&model::Usage::cache_read_tokens);
  below(&model::Usage::cache_write_tokens);
  below(&model::Usage::reasoning_tokens);
  ASSERT_LE(cut.tool_calls.size(), whole.tool_calls.size());
  for (std::size_t i = 0; i < cut.tool_calls.size(); ++i) EXPECT_EQ(whole.tool_calls[i].name, cut.tool_calls[i].name);
  EXPECT_LE(cut.output_text_bytes, whole.output_text_bytes);
}

class CorpusTest : public ::testing::Test {
 protected:
  // Every entry of the corpus that was answered.
  static void each(const std::function<void(const HarEntry&, Random&)>& check) {
    Random random(20260923);
    std::size_t entries = 0;
    for (const auto& file : std::filesystem::recursive_directory_iterator(testing::folder())) {
      if (file.path().extension() != ".har") continue;
      std::ifstream input(file.path(), std::ios::binary);
      const std::string text(std::istreambuf_iterator<char>(input), {});
      const auto result = read_har(text, [&](const HarEntry& entry) {
        if (entry.status == 0) return;
        ++entries;
        SCOPED_TRACE(entry.id);
        check(entry, random);
      });
      ASSERT_TRUE(result) << file.path();
    }
    EXPECT_GT(entries, 0u);
  }
  static bool plain(const HarEntry& entry) { return !entry.web_socket && !entry.bodiless() && !entry.content.empty(); }
  static bool coded(const HarEntry& entry) {
    return std::any_of(entry.response_fields.begin(), entry.response_fields.end(), [](const HarEntry::Field& field) {
      return field.name.size() == 16 && (field.name[0] == 'c' || field.name[0] == 'C') &&
             field.name.substr(8) == (field.name[8] == 'E' ? "Encoding" : "encoding");
    });
  }
};

TEST_F(CorpusTest, SameInPieces) {
  each([](const HarEntry& entry, Random& random) {
    const Conversation conversation = as_http1(entry);
    const std::string whole = lines(decode(conversation));
    EXPECT_EQ(whole, lines(decode(conversation, conversation.to_client.size() < 64 * 1024 ? 1 : 61)));
    for (int round = 0; round < 3; ++round) EXPECT_EQ(whole, lines(decode_randomly(conversation, random)));
  });
}

TEST_F(CorpusTest, SameChunkedAnew) {
  each([](const HarEntry& entry, Random& random) {
    if (plain(entry)) {
      EXPECT_EQ(lines(decode(as_http1(entry))), lines(decode_randomly(rechunked(entry, random), random)));
    }
  });
}

TEST_F(CorpusTest, SameCompressedAnew) {
  each([](const HarEntry& entry, Random& random) {
    if (!plain(entry) || coded(entry)) return;
    const std::string whole = lines(decode(as_http1(entry)));
    EXPECT_EQ(whole,
              lines(decode_randomly(recoded(entry, "gzip", wire::inflate::testing::gzip(entry.content)), random)));
    EXPECT_EQ(whole, lines(decode_randomly(recoded(entry, "br", brotli(entry.content)), random)));
    EXPECT_EQ(whole, lines(decode_randomly(recoded(entry, "zstd", zstd(entry.content)), random)));
  });
}

TEST_F(CorpusTest, SameOverHttp2) {
  each([](const HarEntry& entry, Random& random) {
    if (entry.web_socket || entry.status < 200) return;
    EXPECT_EQ(lines(decode(as_http1(entry))), lines(decode_randomly(as_http2(entry, random), random)));
  });
}

TEST_F(CorpusTest, CutIsAPrefixOrIncomplete) {
  each([](const HarEntry& entry, Random&) {
    if (!plain(entry)) return;
    const auto whole = decode(as_http1(entry));
    const auto said = said_on_the_way(entry);
    for (std::size_t tenth = 1; tenth < 10; ++tenth) {
      SCOPED_TRACE(tenth);
      Conversation conversation = as_http1(entry);
      conversation.to_client.resize(conversation.to_client.size() - entry.content.size() +
                                    entry.content.size() * tenth / 10);
      conversation.steps.back().end = conversation.to_client.size();
      const auto cut = decode(conversation);
      ASSERT_LE(cut.size(), std::max<std::size_t>(whole.size(), 1));
      for (std::size_t i = 0; i < std::min(whole.size(), cut.size()); ++i) {
        expect_prefix(whole[i], cut[i], said);
      }
    }
  });
}

}  // namespace
}  // namespace penstock::parsers::decode

int main(int argc, char** argv) { return penstock::parsers::decode::testing::run_over_folder(argc, argv); }
