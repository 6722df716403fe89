#include "parsers/wire/json/digest.h"

#include <gtest/gtest.h>

#include <sstream>

#include "parsers/wire/testing.h"

namespace penstock::parsers::wire::json {
namespace {

using testing::feed_every_way;
using testing::Pieces;

std::string show(const Value& value) {
  std::ostringstream out;
  switch (value.type()) {
    case Type::kAbsent:
      out << "absent";
      break;
    case Type::kNull:
      out << "null";
      break;
    case Type::kBool:
      out << (*value.as_bool() ? "true" : "false");
      break;
    case Type::kNumber:
      out << value.number_text();
      break;
    case Type::kString:
      out << '"' << *value.as_string() << '"';
      if (value.elided()) out << "+" << value.text_bytes() << "/" << value.blob_bytes();
      break;
    case Type::kArray:
      out << '[';
      if (value.dropped() != 0) out << value.dropped() << " dropped ";
      for (const Value item : value.items()) out << show(item) << ' ';
      out << ']';
      break;
    case Type::kObject:
      out << '{';
      for (const Value member : value.members()) out << member.key() << ':' << show(member) << ' ';
      if (value.dropped() != 0) out << value.dropped() << " dropped";
      out << '}';
      break;
  }
  if (value.exists() && !value.complete()) out << '~';
  return out.str();
}

std::string digest(std::string_view text, DigestOptions options = {}) {
  return feed_every_way(text, [options](const Pieces& pieces) {
    Digest doc(options);
    for (const std::string_view piece : pieces) doc.feed(piece);
    doc.finish();
    return show(doc.root()) + " text=" + std::to_string(doc.root().text_bytes()) +
           " blobs=" + std::to_string(doc.root().blob_bytes()) + " raw=" + std::to_string(doc.root().raw_bytes());
  });
}

TEST(JsonDigest, AnswersQueries) {
  Digest doc;
  doc.feed(
      R"({"id":"x","usage":{"input_tokens":12,"output_tokens":3.0,"cached":null,"neg":-1},"choices":[{"i":0},{"i":1}]})");
  EXPECT_EQ(doc.finish(), ParseState::kDone);
  EXPECT_EQ(doc["usage"]["input_tokens"].as_uint(), 12u);
  EXPECT_EQ(doc["usage"]["output_tokens"].as_uint(), 3u);
  EXPECT_EQ(doc["usage"]["neg"].as_uint(), std::nullopt);
  EXPECT_TRUE(doc["usage"]["cached"].is_null());
  EXPECT_TRUE(doc["usage"]["cached"].exists());
  EXPECT_FALSE(doc["usage"]["cached"].has_value());
  EXPECT_FALSE(doc["usage"]["none"].exists());
  EXPECT_FALSE(doc["none"]["none"].at(3)["none"].exists());
  EXPECT_EQ(doc["choices"].size(), 2u);
  EXPECT_EQ(doc["choices"].at(1)["i"].as_uint(), 1u);
  EXPECT_FALSE(doc["choices"].at(2).exists());
  EXPECT_EQ(doc["id"].string_or(""), "x");
  EXPECT_EQ(doc["usage"].string_or("-"), "-");
  EXPECT_EQ(doc["id"].as_uint(), std::nullopt);
}

TEST(JsonDigest, CountsWrittenAsTextAreTakenWhenAskedFor) {
  Digest doc;
  doc.feed(R"({"a":"17","b":17,"c":"x","d":"-1"})");
  EXPECT_EQ(doc["a"].as_uint(), std::nullopt);
  EXPECT_EQ(doc["a"].as_count(), 17u);
  EXPECT_EQ(doc["b"].as_count(), 17u);
  EXPECT_EQ(doc["c"].as_count(), std::nullopt);
  EXPECT_EQ(doc["d"].as_count(), std::nullopt);
}

TEST(JsonDigest, LastDuplicateKeyWins) {
  Digest doc;
  doc.feed(R"({"a":1,"a":2})");
  EXPECT_EQ(doc["a"].as_uint(), 2u);
}

TEST(JsonDigest, KeepsThePrefixOfACutDocument) {
  EXPECT_EQ(digest(R"({"usage":{"in":12,"out":3)"), "{usage:{in:12 }~ }~ text=0 blobs=0 raw=25");
  EXPECT_EQ(digest(R"({"a":"hal)"), "{a:\"hal\"~ }~ text=3 blobs=0 raw=9");
  EXPECT_EQ(digest(R"({"a":["x","yz"],"b)"), "{a:[\"x\" \"yz\" ] }~ text=3 blobs=0 raw=18");
  EXPECT_EQ(digest(R"({"a":tru)"), "{}~ text=0 blobs=0 raw=8");
}

TEST(JsonDigest, ElidesLongStringsAndKnowsTheirLength) {
  std::string words;
  for (int i = 0; i < 300; ++i) words += "word\\n";
  EXPECT_EQ(digest("{\"t\":\"" + words + "\"}", {.string_bytes = 6}),
            "{t:\"word\nw\"+1500/0 } text=1500 blobs=0 raw=1808");
  EXPECT_EQ(digest("[\"" + std::string(300, 'A') + "\",\"data:image/png;base64,AAAA\"]", {.string_bytes = 4}),
            "[\"AAAA\"+0/300 \"data\"+0/26 ] text=0 blobs=326 raw=333");
  EXPECT_EQ(digest("{\"t\":\"" + words, {.string_bytes = 6}), "{t:\"word\nw\"+1500/0~ }~ text=1500 blobs=0 raw=1806");
}

TEST(JsonDigest, DropsTheOldestElementsOfTheLargestArray) {
  std::string text = R"({"model":"m","messages":[)";
  for (int i = 0; i < 100; ++i)
    text += (i == 0 ? "" : ",") + std::string("{\"n\":") + std::to_string(i) + ",\"t\":\"abc\"}";
  text += R"(],"tools":[{"name":"a"},{"name":"b"}],"stream":true})";
  Digest doc(DigestOptions{.nodes = 40});
  doc.feed(text);
  EXPECT_EQ(doc.finish(), ParseState::kDone);
  EXPECT_EQ(doc["model"].string_or(""), "m");
  EXPECT_EQ(doc["messages"].size(), 100u);
  EXPECT_GT(doc["messages"].dropped(), 80u);
  EXPECT_FALSE(doc["messages"].at(0).exists());
  EXPECT_EQ(doc["messages"].at(99)["n"].as_uint(), 99u);
  EXPECT_EQ(doc["messages"].text_bytes(), 300u);
  EXPECT_EQ(doc["tools"].at(1)["name"].string_or(""), "b");
  EXPECT_EQ(doc["stream"].as_bool(), true);
  digest(text, {.nodes = 40});
  digest(text, {.nodes = 3});
  digest(text, {.nodes = 16, .text_bytes = 100});
}

TEST(JsonDigest, CountsWhatAnObjectTooLargeHolds) {
  std::string text = "{\"first\":1";
  for (int i = 0; i < 50; ++i) text += ",\"k" + std::to_string(i) + "\":\"abcd\"";
  text += "}";
  Digest doc(DigestOptions{.nodes = 10});
  doc.feed(text);
  EXPECT_EQ(doc["first"].as_uint(), 1u);
  EXPECT_EQ(doc.root().size(), 51u);
  EXPECT_EQ(doc.root().dropped(), 42u);
  EXPECT_EQ(doc.root().text_bytes(), 200u);
}

TEST(JsonDigest, TapsStringsInFull) {
  struct Sink : StringSink {
    std::string out;
    void on_string(std::string_view key, std::string_view piece, bool last) override {
      if (out.empty() || out.back() == '.') out += std::string(key) + "=";
      out += piece;
      if (last) out += ".";
    }
  };
  static constexpr std::string_view kKeys[] = {"text", "input"};
  const std::string text = R"({"text":"a\nb","x":"no","input":["one","two",{"y":"no","text":"c"}],"z":["no"]})";
  EXPECT_EQ(feed_every_way(text,
                           [](const Pieces& pieces) {
                             Sink sink;
                             Digest doc({.string_bytes = 1, .tap_keys = kKeys, .tap_key_count = 2, .tap = &sink});
                             for (const std::string_view piece : pieces) doc.feed(piece);
                             return sink.out;
                           }),
            "text=a\nb.input=one.input=two.text=c.");
}

std::string values(std::string_view text, Values::Split split, bool resync = true) {
  return feed_every_way(text, [=](const Pieces& pieces) {
    struct Sink : ValueSink {
      std::string out;
      void on_value(const Value& value) override { out += show(value) + "; "; }
    } sink;
    Values values({}, split, sink);
    for (const std::string_view piece : pieces) values.feed(piece, resync);
    values.finish();
    return sink.out + std::to_string(values.invalid_lines());
  });
}

TEST(JsonValues, DeliversEachLine) {
  EXPECT_EQ(values("{\"a\":1}\n{\"a\":2}\r\n\n[3]\n4\n", Values::Split::kDocuments), "{a:1 }; {a:2 }; [3 ]; 4; 0");
}

TEST(JsonValues, DeliversTheElementsOfAnArrayAsTheyEnd) {
  EXPECT_EQ(values("[{\"a\":[1]}\n,{\"a\":2}\n,3,\"x\",[4]]", Values::Split::kElements),
            "{a:[1 ] }; {a:2 }; 3; \"x\"; [4 ]; 0");
  EXPECT_EQ(values("{\"a\":1}\n{\"a\":2}", Values::Split::kElements), "{a:1 }; {a:2 }; 0");
  EXPECT_EQ(values("[{\"a\":1},{\"a\":2,\"b\":\"x", Values::Split::kElements), "{a:1 }; {a:2 b:\"x\"~ }~; 0");
}

TEST(JsonValues, ABrokenLineCostsOneLine) {
  EXPECT_EQ(values("{\"a\":1}\n{\"b:1}\n{\"a\":2}\noops\n{\"a\":3}\n", Values::Split::kDocuments),
            "{a:1 }; {a:2 }; {a:3 }; 2");
  EXPECT_EQ(values("{\"a\":1}\n{b}\n{\"a\":2}\noops\n{\"a\":3}\n", Values::Split::kDocuments),
            "{a:1 }; {a:2 }; {a:3 }; 2");
}

TEST(JsonDigest, AllocatesNothingOnceWarm) {
  Digest doc;
  const std::string event =
      R"({"choices":[{"delta":{"content":"Hello"},"index":0}],"usage":{"a_rather_long_key_name":1}})";
  doc.feed(event);
  const std::size_t before = testing::allocations();
  for (int i = 0; i < 3; ++i) {
    doc.clear();
    doc.feed(event);
    doc.finish();
  }
  EXPECT_EQ(testing::allocations(), before);
  EXPECT_EQ(doc["choices"].at(0)["delta"]["content"].string_or(""), "Hello");
}

}  // namespace
}  // namespace penstock::parsers::wire::json
