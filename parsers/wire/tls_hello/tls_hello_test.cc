#include "parsers/wire/tls_hello/tls_hello.h"

#include <gtest/gtest.h>

#include "parsers/wire/testing.h"
#include "parsers/wire/tls_hello/testing.h"

namespace penstock::parsers::wire::tls_hello {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)
using wire::testing::bytes;
using wire::testing::feed_every_way;
using wire::testing::Pieces;

std::string describe(const FirstBytes& first) {
  std::string out;
  if (const auto& hello = first.hello()) {
    out = "sni=" + hello->server_name + " alpn=" + hello->alpn;
    if (hello->ech) out += " ech";
    if (hello->early_data) out += " early";
    if (!hello->whole) out += " cut";
  } else {
    out = "none";
  }
  return out + " " + std::to_string(first.handshake_bytes()) + "+" + std::to_string(first.application_bytes()) +
         (first.broken() ? " broken" : "");
}

std::string read(std::string_view stream) {
  return feed_every_way(stream, [](const Pieces& pieces) {
    FirstBytes first;
    std::uint64_t at = 0;
    for (const std::string_view piece : pieces) {
      first.feed(at, bytes(piece));
      at += piece.size();
    }
    first.finish();
    return describe(first);
  });
}

TEST(TlsHello, NameAndProtocols) {
  const std::string hello = record(0x16, client_hello(server_name("API.OpenAI.com") + alpn({"h2", "http/1.1"})));
  EXPECT_EQ(read(hello), "sni=api.openai.com alpn=h2,http/1.1 " + std::to_string(hello.size()) + "+0");
}

TEST(TlsHello, OfAnExtensionThatIsRepeatedTheFirstHolds) {
  std::string extensions = server_name("a.example") + alpn({"h2"});
  for (int i = 0; i < 100; ++i) extensions += server_name("b.example") + alpn({"spdy/3.1"});
  EXPECT_EQ(read(record(0x16, client_hello(extensions))).substr(0, 21), "sni=a.example alpn=h2");
}

TEST(TlsHello, OneMessageInManyRecords) {
  const std::string message = client_hello(server_name("api.openai.com"));
  std::string stream;
  for (const char c : message) stream += record(0x16, std::string(1, c));
  EXPECT_EQ(read(stream), "sni=api.openai.com alpn= " + std::to_string(stream.size()) + "+0");
}

TEST(TlsHello, WhatFollowsIsCounted) {
  const std::string hello = record(0x16, client_hello(server_name("a.example")));
  const std::string rest =
      record(0x14, "\x01") + record(0x17, std::string(74, 'f')) + record(0x17, std::string(500, 'x'));
  EXPECT_EQ(read(hello + rest), "sni=a.example alpn= " + std::to_string(hello.size() + 6) + "+584");
}

TEST(TlsHello, NoNameAndNoExtensions) {
  EXPECT_EQ(read(record(0x16, client_hello(alpn({"h2"})))).substr(0, 13), "sni= alpn=h2 ");
  const std::string body = number(0x0301, 2) + std::string(32, 'r') + vector("", 1) + vector("\x13\x01", 2) +
                           vector(std::string(1, '\0'), 1);
  EXPECT_EQ(read(record(0x16, number(1, 1) + vector(body, 3))).substr(0, 11), "sni= alpn= ");
}

TEST(TlsHello, EncryptedHelloAndEarlyData) {
  const std::string both = extension(0xfe0d, std::string(200, 'e')) + extension(42, "") + server_name("front.example");
  EXPECT_EQ(read(record(0x16, client_hello(both))).substr(0, 34), "sni=front.example alpn= ech early ");
}

TEST(TlsHello, NamesThatAreNone) {
  EXPECT_EQ(read(record(0x16, client_hello(server_name("a\nb")))).substr(0, 11), "sni= alpn= ");
  EXPECT_EQ(read(record(0x16, client_hello(server_name(std::string(256, 'a'))))).substr(0, 11), "sni= alpn= ");
  EXPECT_EQ(read(record(0x16, client_hello(alpn({"a\"b", "h2"})))).substr(0, 13), "sni= alpn=h2 ");
}

TEST(TlsHello, AHelloBeyondTheLimitIsReadAsFarAsItGoes) {
  const std::string padded = client_hello(server_name("early.example") + extension(21, std::string(8000, '\0')));
  EXPECT_EQ(read(record(0x16, padded)), "sni=early.example alpn= cut " + std::to_string(padded.size() + 5) + "+0");
  const std::string hidden = client_hello(extension(21, std::string(8000, '\0')) + server_name("late.example"));
  EXPECT_EQ(read(record(0x16, hidden)), "sni= alpn= cut " + std::to_string(hidden.size() + 5) + "+0");
}

TEST(TlsHello, UnfinishedHello) {
  const std::string hello = record(0x16, client_hello(server_name("api.openai.com")));
  for (std::size_t n = 0; n < hello.size(); ++n) {
    FirstBytes first;
    first.feed(0, bytes(std::string_view(hello).substr(0, n)));
    EXPECT_FALSE(first.hello()) << n;
    first.finish();
    EXPECT_FALSE(first.hello() && first.hello()->whole) << n;
  }
}

TEST(TlsHello, NotATlsClient) {
  EXPECT_EQ(read("GET / HTTP/1.1\r\nhost: a\r\n\r\n"), "none 0+0 broken");
  EXPECT_EQ(read(record(0x16, number(2, 1) + vector(std::string(70, 'x'), 3))), "none 79+0");  // a server's
  EXPECT_EQ(read(record(0x17, std::string(600, 'x'))), "none 0+605");                          // joined late
  EXPECT_EQ(read(std::string("\x16\x03\x01\xff\xff", 5) + "x"), "none 0+0 broken");
}

TEST(TlsHello, BytesSeenTwiceAndHoles) {
  const std::string hello = record(0x16, client_hello(server_name("api.openai.com")));
  FirstBytes first;
  first.feed(0, bytes(std::string_view(hello).substr(0, 20)));
  first.feed(0, bytes(std::string_view(hello).substr(0, 10)));
  first.feed(5, bytes(std::string_view(hello).substr(5)));
  ASSERT_TRUE(first.hello());
  EXPECT_EQ(first.hello()->server_name, "api.openai.com");
  first.feed(hello.size() + 1, bytes("x"));
  EXPECT_TRUE(first.broken());
  EXPECT_EQ(first.seen_bytes(), hello.size());
}

}  // namespace
}  // namespace penstock::parsers::wire::tls_hello
