// hpack-test-case: header blocks of 15 encoders. http2-frame-test-case: single frames, valid and not. Both are JSON,
// read by our own digest.
#include <gtest/gtest.h>

#include "parsers/wire/http2/frame_reader.h"
#include "parsers/wire/http2/hpack.h"
#include "parsers/wire/json/digest.h"
#include "parsers/wire/testing.h"
#include "parsers/wire/vectors.h"

namespace penstock::parsers::wire::http2 {
namespace {

using wire::testing::bytes;
using wire::testing::vector_files;

void load(json::Digest& digest, const std::filesystem::path& path) {
  digest.feed(wire::testing::read_file(path));
  ASSERT_EQ(digest.finish(), ParseState::kDone) << path;
}
const json::DigestOptions kWhole{.string_bytes = 1 << 20, .nodes = 1 << 18, .text_bytes = 16 << 20};

std::string unhex(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    out.push_back(static_cast<char>(json::hex_digit(text[i]) * 16 + json::hex_digit(text[i + 1])));
  }
  return out;
}

TEST(Http2Conformance, HpackStories) {
  std::size_t stories = 0, blocks = 0;
  for (const auto& path : vector_files("hpack-test-case")) {
    const std::string encoder = path.parent_path().filename();
    if (path.extension() != ".json" || encoder == "raw-data") continue;
    json::Digest story(kWhole);
    load(story, path);
    Hpack decoder(false);
    for (const json::Value entry : story["cases"].items()) {
      if (const auto size = entry["header_table_size"].as_uint()) {
        decoder.change_table_size(static_cast<std::uint32_t>(*size));
      }
      http::Fields fields;
      ASSERT_TRUE(decoder.decode(bytes(unhex(entry["wire"].string_or(""))), fields)) << path;
      std::size_t i = 0;
      for (const json::Value field : entry["headers"].items()) {
        for (const json::Value member : field.members()) {
          ASSERT_LT(i, fields.size()) << path;
          ASSERT_EQ(fields[i].name, member.key()) << path;
          ASSERT_EQ(fields[i].value, member.string_or("?")) << path;
          ++i;
        }
      }
      ASSERT_EQ(i, fields.size()) << path;
      ++blocks;
    }
    ++stories;
  }
  EXPECT_GT(stories, 440u);
  EXPECT_GT(blocks, 10000u);
}

// Every story again from its middle: what a block adds must come out right, what it refers to may be unknown.
TEST(Http2Conformance, HpackStoriesJoinedInTheMiddle) {
  std::size_t known = 0, unknown = 0;
  for (const auto& path : vector_files("hpack-test-case")) {
    const std::string encoder = path.parent_path().filename();
    if (path.extension() != ".json" || encoder == "raw-data" || encoder == "nghttp2-change-table-size") continue;
    json::Digest story(kWhole);
    load(story, path);
    const std::size_t middle = story["cases"].size() / 2;
    Hpack decoder(true);
    for (std::size_t n = middle; n < story["cases"].size(); ++n) {
      const json::Value entry = story["cases"].at(n);
      http::Fields fields;
      // Tables that were made larger before the middle need more room than was known of.
      const bool decoded = decoder.decode(bytes(unhex(entry["wire"].string_or(""))), fields);
      if (!decoded) continue;
      std::size_t i = 0;
      for (const json::Value field : entry["headers"].items()) {
        for (const json::Value member : field.members()) {
          ASSERT_LT(i, fields.size()) << path;
          if (fields[i].name == kUnknownName) {
            ++unknown;
          } else {
            ASSERT_EQ(fields[i].name, member.key()) << path << " " << n;
            ASSERT_EQ(fields[i].value, member.string_or("?")) << path << " " << n;
            ++known;
          }
          ++i;
        }
      }
    }
  }
  EXPECT_GT(known, 4 * unknown) << unknown;
}

struct Frames : FrameReader::Events {
  std::size_t frames = 0;
  FrameHeader header;
  Payload payload;
  std::string content;
  bool broken = false;
  void on_data(FrameReader&, std::uint32_t, std::span<const std::uint8_t> piece, std::uint64_t) override {
    content += wire::testing::text(piece);
  }
  void on_frame(FrameReader&, const FrameHeader& h, const Payload& p, std::uint64_t, std::uint64_t) override {
    ++frames;
    header = h;
    payload = p;
    content += wire::testing::text(p.content);
  }
  void on_broken(FrameReader&, std::string_view, bool) override { broken = true; }
};

TEST(Http2Conformance, FrameVectors) {
  std::size_t files = 0;
  for (const auto& path : vector_files("http2-frame-test-case")) {
    if (path.extension() != ".json") continue;
    json::Digest vector(kWhole);
    load(vector, path);
    const std::string wire = unhex(vector["wire"].string_or(""));
    Frames seen;
    wire::testing::feed_every_way(wire, [&](const wire::testing::Pieces& pieces) {
      Frames frames;
      FrameReader reader(true, FrameReader::Start::kFrame, frames);
      std::uint64_t pos = 0;
      for (const std::string_view piece : pieces) {
        reader.feed(pos, bytes(piece));
        pos += piece.size();
      }
      seen = frames;
      return std::to_string(frames.frames) + (frames.broken ? "broken" : frames.content);
    });
    ++files;
    if (vector["error"].has_value()) {
      EXPECT_TRUE(seen.broken) << path;
      continue;
    }
    EXPECT_FALSE(seen.broken) << path;
    const json::Value frame = vector["frame"];
    EXPECT_EQ(frame["length"].as_uint(), seen.header.length) << path;
    EXPECT_EQ(frame["type"].as_uint(), static_cast<std::uint64_t>(seen.header.type)) << path;
    EXPECT_EQ(frame["flags"].as_uint(), seen.header.flags) << path;
    EXPECT_EQ(frame["stream_identifier"].as_uint(), seen.header.stream) << path;
    const json::Value payload = frame["frame_payload"];
    for (const char* name : {"data", "header_block_fragment", "additional_debug_data"}) {
      if (payload[name].is_string()) {
        EXPECT_EQ(payload[name].string_or(""), seen.content) << path;
      }
    }
    if (payload["promised_stream_id"].exists()) {
      EXPECT_EQ(payload["promised_stream_id"].as_uint(), seen.payload.promised_stream) << path;
    }
    for (const char* name : {"error_code", "window_size_increment"}) {
      if (payload[name].exists()) {
        EXPECT_EQ(payload[name].as_uint(), seen.payload.code) << path;
      }
    }
  }
  EXPECT_GE(files, 34u);
}

}  // namespace
}  // namespace penstock::parsers::wire::http2
