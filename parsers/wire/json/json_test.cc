#include <gtest/gtest.h>

#include <random>

#include "parsers/wire/json/scanner.h"
#include "parsers/wire/testing.h"

namespace penstock::parsers::wire::json {
namespace {

using testing::feed_every_way;
using testing::Pieces;

// Writes the events as one line of text. With `keep` it loses interest in a string after so many bytes.
struct Log {
  std::string out;
  std::size_t keep = ~0ull;
  std::string string;

  void object_begin(std::uint64_t at) { out += "{" + std::to_string(at) + " "; }
  void object_end(std::uint64_t end) { out += "}" + std::to_string(end) + " "; }
  void array_begin(std::uint64_t at) { out += "[" + std::to_string(at) + " "; }
  void array_end(std::uint64_t end) { out += "]" + std::to_string(end) + " "; }
  void key(std::string_view key) { out += std::string(key) + ": "; }
  void string_begin(std::uint64_t) { string.clear(); }
  bool string_piece(std::string_view piece) {
    string += piece.substr(0, keep - std::min(keep, string.size()));
    return string.size() < keep;
  }
  void string_progress(std::uint64_t) {}
  void string_end(std::uint64_t, std::uint64_t decoded) {
    out += "'" + string + "'" + (decoded == string.size() ? "" : "(" + std::to_string(decoded) + ")") + " ";
  }
  void number(std::uint64_t, std::string_view text, bool whole) { out += std::string(text) + (whole ? " " : "… "); }
  void literal(std::uint64_t, Literal literal) {
    out += literal == Literal::kNull ? "null " : literal == Literal::kTrue ? "true " : "false ";
  }
  void root_end(std::uint64_t) { out += "; "; }
};

std::string scan(const Pieces& pieces, Dialect dialect, std::size_t keep = ~0ull) {
  Log log;
  log.keep = keep;
  Scanner<Log> scanner(log, dialect);
  for (const std::string_view piece : pieces) scanner.feed(piece);
  const ParseState end = scanner.finish();
  return log.out + (end == ParseState::kDone ? "done" : stopped(end) ? "invalid" : "open");
}

std::string stream(std::string_view text, std::size_t keep = ~0ull) {
  return feed_every_way(text, [keep](const Pieces& p) { return scan(p, {}, keep); });
}
std::string strict(std::string_view text) {
  return feed_every_way(text, [](const Pieces& p) { return scan(p, {.strict = true}); });
}

TEST(JsonScanner, DeliversEventsInDocumentOrder) {
  EXPECT_EQ(strict(R"({"a":[1,-2.5e3,true,null],"b":{"c":"x"}})"),
            "{0 a: [5 1 -2.5e3 true null ]25 b: {30 c: 'x' }39 }40 ; done");
  EXPECT_EQ(strict(" [ ] "), "[1 ]4 ; done");
  EXPECT_EQ(strict("42"), "42 ; done");
}

TEST(JsonScanner, UnescapesStringsAndKeys) {
  EXPECT_EQ(strict(R"(["\"\\\/\b\f\n\r\t","\u0041\u00e9\u20ac\ud83d\ude00"])"),
            "[0 '\"\\/\b\f\n\r\t' 'A\u00e9\u20ac\U0001f600' ]53 ; done");
  EXPECT_EQ(strict(R"({"us\u0061ge":1})"), "{0 usage: 1 }16 ; done");
}

TEST(JsonScanner, LoneSurrogatesBecomeReplacementCharacters) {
  EXPECT_EQ(stream(R"(["\ud83dx","\ud83d\n","\ude00","\ud83d\ud83d\ude00","\ud83d"])"),
            "[0 '\uFFFDx' '\uFFFD\n' '\uFFFD' '\uFFFD\U0001f600' '\uFFFD' ]61 ; done");
}

TEST(JsonScanner, StreamDialectSurvivesWhatProgramsSend) {
  EXPECT_EQ(stream("[\"a\nb\\x\\u00zz\",NaN,-Infinity]"), "[0 'a\nbx\uFFFDzz' NaN -Infinity ]29 ; done");
  EXPECT_EQ(stream("\xef\xbb\xbf{}"), "{3 }5 ; done");
  EXPECT_EQ(strict("[\"a\nb\"]"), "[0 invalid");
  EXPECT_EQ(strict("[NaN]"), "[0 invalid");
}

TEST(JsonScanner, ACutDocumentKeepsItsPrefixButNoHalfNumber) {
  EXPECT_EQ(stream(R"({"usage":{"input_tokens":12,"output_tokens":3)"),
            "{0 usage: {9 input_tokens: 12 output_tokens: open");
}

TEST(JsonScanner, SkipsWhatTheHandlerDoesNotWantAndStillCountsIt) {
  std::string text = "[\"....";
  std::size_t decoded = 4;
  std::mt19937 random(7);
  for (int i = 0; i < 700; ++i) {
    static constexpr struct {
      std::string_view raw;
      std::size_t decoded;
    } kKinds[] = {{"\\n", 1},      {"\\\"", 1}, {"\\u00e9", 2}, {"\\ud83d\\ude00", 4},
                  {"\\ud83d ", 4}, {"\\\\", 1}, {"\\u20aC", 3}};
    const auto& kind = kKinds[random() % std::size(kKinds)];
    const std::size_t plain = random() % 90;
    text.append(kind.raw).append(plain, 'x');
    decoded += kind.decoded + plain;
  }
  text += "\"]";
  EXPECT_EQ(stream(text, 4), "[0 '....'(" + std::to_string(decoded) + ") ]" + std::to_string(text.size()) + " ; done");
}

TEST(JsonScanner, BoundsDepthKeysAndNumbers) {
  EXPECT_EQ(scan({std::string(100000, '[')}, {}).substr(0, 4), "[0 [");
  EXPECT_TRUE(scan({std::string(100000, '[')}, {}).ends_with("invalid"));
  const std::string key(1000, 'k');
  EXPECT_EQ(stream("{\"" + key + "\":1}"), "{0 " + key.substr(0, limits::kJsonKeyBytes) + ": 1 }1006 ; done");
  const std::string digits(200, '7');
  EXPECT_EQ(stream("[" + digits + "]"), "[0 " + digits.substr(0, limits::kJsonNumberBytes) + "… ]202 ; done");
}

TEST(JsonScanner, ReadsSequences) {
  const auto run = [](const Pieces& p) { return scan(p, {.multi = true}); };
  EXPECT_EQ(feed_every_way("{\"a\":1}\n[2]\r\n\n3 \"x\"", run), "{0 a: 1 }7 ; [8 2 ]11 ; 3 ; 'x' ; done");
}

TEST(JsonNumber, ConvertsOnlyWhatFitsExactly) {
  EXPECT_EQ(to_uint("0"), 0u);
  EXPECT_EQ(to_uint("12"), 12u);
  EXPECT_EQ(to_uint("3.0"), 3u);
  EXPECT_EQ(to_uint("30e-1"), 3u);
  EXPECT_EQ(to_uint("1.5e3"), 1500u);
  EXPECT_EQ(to_uint("-0"), 0u);
  EXPECT_EQ(to_uint("0e999999999"), 0u);
  EXPECT_EQ(to_uint("9223372036854775807"), 9223372036854775807u);
  for (const char* bad : {"9223372036854775808", "99999999999999999999", "-1", "3.5", "1e30", "1e999999999", "NaN",
                          "Infinity", "", "01", "1.", ".5", "+1", "0x10", "1e", "--1"}) {
    EXPECT_EQ(to_uint(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(to_int("-5"), -5);
  EXPECT_EQ(to_int("-5.0"), -5);
  EXPECT_EQ(to_double("2.5"), 2.5);
  EXPECT_EQ(to_double("1e999"), std::nullopt);
}

}  // namespace
}  // namespace penstock::parsers::wire::json
