#include "parsers/wire/inflate/inflate.h"

#include <brotli/encode.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <random>

#include "parsers/wire/inflate/testing.h"
#include "parsers/wire/testing.h"

namespace penstock::parsers::wire::inflate {
namespace {

using testing::deflated;
using testing::gzip;
using wire::testing::bytes;
using wire::testing::feed_every_way;
using wire::testing::Pieces;
using wire::testing::text;

std::string zlib(std::string_view input) { return deflated(input, MAX_WBITS); }
std::string raw(std::string_view input) { return deflated(input, -MAX_WBITS); }
std::string brotli(std::string_view input) {
  std::size_t size = BrotliEncoderMaxCompressedSize(input.size()) + 64;
  std::string out(size, '\0');
  BrotliEncoderCompress(5, 22, BROTLI_MODE_TEXT, input.size(), bytes(input).data(), &size,
                        reinterpret_cast<std::uint8_t*>(out.data()));
  out.resize(size);
  return out;
}
std::string zstd(std::string_view input) {
  std::string out(ZSTD_compressBound(input.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), input.data(), input.size(), 3));
  return out;
}

struct Text : Output {
  std::string out;
  void on_inflated(std::span<const std::uint8_t> bytes) override { out += text(bytes); }
};

std::string decode(std::string_view coding, std::string_view input, Bounds bounds = {}) {
  return feed_every_way(input, [&](const Pieces& pieces) {
    Text text;
    Decoder decoder(coding, bounds);
    for (const std::string_view piece : pieces) decoder.feed(bytes(piece), text);
    static constexpr const char* kEnds[] = {"~", "", "!invalid", "!limit"};
    return text.out + kEnds[static_cast<int>(decoder.finish())];
  });
}

const std::string kText = "data: {\"usage\":{\"input_tokens\":12}}\n\ndata: {\"usage\":{\"input_tokens\":13}}\n\n";

TEST(Inflate, EveryCoding) {
  EXPECT_EQ(decode("", kText), kText);
  EXPECT_EQ(decode("identity", kText), kText);
  EXPECT_EQ(decode("gzip", gzip(kText)), kText);
  EXPECT_EQ(decode("X-GZip", gzip(kText)), kText);
  EXPECT_EQ(decode("deflate", zlib(kText)), kText);
  EXPECT_EQ(decode("deflate", raw(kText)), kText);
  EXPECT_EQ(decode("br", brotli(kText)), kText);
  EXPECT_EQ(decode("zstd", zstd(kText)), kText);
  EXPECT_EQ(decode("br, gzip", gzip(brotli(kText))), kText);
  EXPECT_EQ(decode("zstd,identity , deflate", zlib(zstd(kText))), kText);
}

TEST(Inflate, SeveralMembersAndFrames) {
  EXPECT_EQ(decode("gzip", gzip("one ") + gzip("two")), "one two");
  EXPECT_EQ(decode("zstd", zstd("one ") + zstd("two")), "one two");
  EXPECT_EQ(decode("gzip", gzip("one") + std::string(20, '\0')), "one");
}

TEST(Inflate, ACutStreamYieldsItsPrefix) {
  const std::string whole = gzip(kText);
  EXPECT_EQ(decode("gzip", whole.substr(0, whole.size() - 8)), kText + "~");
  for (const char* coding : {"gzip", "br", "zstd", "deflate"}) EXPECT_EQ(decode(coding, ""), "") << coding;
}

TEST(Inflate, DeliversAtEveryFlush) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
  Decoder decoder("gzip");
  Text text;
  for (const std::string event : {"data: a\n\n", "data: b\n\n"}) {
    std::uint8_t out[256];
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(event.data()));
    stream.avail_in = static_cast<uInt>(event.size());
    stream.next_out = out;
    stream.avail_out = sizeof out;
    deflate(&stream, Z_SYNC_FLUSH);
    text.out.clear();
    decoder.feed({out, sizeof out - stream.avail_out}, text);
    EXPECT_EQ(text.out, event);
  }
  deflateEnd(&stream);
}

TEST(Inflate, LabelsThatLie) {
  EXPECT_EQ(decode("gzip", "{\"a\":1}"), "{\"a\":1}");
  EXPECT_EQ(decode("zstd", "{\"a\":1}"), "{\"a\":1}");
  EXPECT_EQ(decode("snappy", "x"), "!invalid");
  EXPECT_EQ(decode("gzip,gzip,gzip,gzip", "x"), "!limit");
}

TEST(Inflate, BrokenStreams) {
  std::string broken = gzip(kText);
  broken[12] = static_cast<char>(broken[12] ^ 0x55);
  EXPECT_NE(decode("gzip", broken), kText);
  EXPECT_EQ(decode("br", std::string(64, '\xff')), "!invalid");
  EXPECT_EQ(decode("zstd", std::string("\x28\xb5\x2f\xfd") + std::string(64, '\xff')), "!invalid");
}

TEST(Inflate, BombsAreStopped) {
  const std::string zeros(8 << 20, '\0');
  const Bounds tight{.output_bytes = 1 << 20};
  const Bounds ratio{.ratio = 100, .ratio_from = 1 << 16};
  for (const Bounds& bounds : {tight, ratio}) {
    for (const auto& [coding, body] : std::initializer_list<std::pair<const char*, std::string>>{
             {"gzip", gzip(zeros)}, {"br", brotli(zeros)}, {"zstd", zstd(zeros)}, {"gzip, gzip", gzip(gzip(zeros))}}) {
      Text text;
      Decoder decoder(coding, bounds);
      EXPECT_EQ(decoder.feed(bytes(body), text), ParseState::kLimit) << coding;
      EXPECT_LE(text.out.size(), 1u << 20) << coding;
      EXPECT_EQ(decoder.feed(bytes(body), text), ParseState::kLimit) << coding;
    }
  }
}

TEST(Inflate, ALargeZstdWindowIsRefused) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 27);
  std::string input(200 << 10, '\0');
  std::mt19937 random(1);
  for (char& c : input) c = static_cast<char>(random());
  std::string out(ZSTD_compressBound(input.size()), '\0');
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  ZSTD_inBuffer from{input.data(), input.size(), 0};
  ZSTD_compressStream2(context, &to, &from, ZSTD_e_flush);  // without the content size the window is what was asked for
  ZSTD_freeCCtx(context);
  Text text;
  Decoder decoder("zstd");
  EXPECT_EQ(decoder.feed(bytes(std::string_view(out).substr(0, to.pos)), text), ParseState::kInvalid);
}

TEST(Inflate, RawInflaterKeepsItsWindowBetweenMessages) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  RawInflater inflater;
  for (const std::string message : {"the same words", "the same words", "the same words"}) {
    std::uint8_t out[256];
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(message.data()));
    stream.avail_in = static_cast<uInt>(message.size());
    stream.next_out = out;
    stream.avail_out = sizeof out;
    deflate(&stream, Z_SYNC_FLUSH);
    const std::size_t size = sizeof out - stream.avail_out - 4;
    Text text;
    EXPECT_FALSE(stopped(inflater.feed({out, size}, text)));
    EXPECT_FALSE(stopped(inflater.end_message(text)));
    EXPECT_EQ(text.out, message);
  }
  deflateEnd(&stream);
}

TEST(Inflate, RawInflaterGoesOnBehindAFinalBlock) {
  RawInflater inflater;
  Text text;
  // With and without the empty block that RFC 7692 §7.2.3.4 has behind the final one.
  for (const std::string& message : {raw("first") + '\0', raw("second")}) {
    EXPECT_FALSE(stopped(inflater.feed(bytes(message), text)));
    EXPECT_FALSE(stopped(inflater.end_message(text)));
  }
  EXPECT_EQ(text.out, "firstsecond");
}

}  // namespace
}  // namespace penstock::parsers::wire::inflate
