// JSONTestSuite, and a second, independent parser on everything both understand.
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <random>

#include "parsers/wire/json/digest.h"
#include "parsers/wire/testing.h"
#include "parsers/wire/vectors.h"

namespace penstock::parsers::wire::json {
namespace {

using Theirs = google::protobuf::Value;

DigestOptions everything(bool strict) {
  return {.strict = strict, .string_bytes = 1 << 20, .nodes = 1 << 20, .text_bytes = 8 << 20};
}

void expect_same(const Value& ours, const google::protobuf::Value& theirs, const std::string& where) {
  switch (theirs.kind_case()) {
    case Theirs::kNullValue:
      EXPECT_TRUE(ours.is_null()) << where;
      break;
    case Theirs::kBoolValue:
      EXPECT_EQ(ours.as_bool(), theirs.bool_value()) << where;
      break;
    case Theirs::kNumberValue:
      if (!ours.complete()) break;  // longer than kJsonNumberBytes: known to be unusable
      EXPECT_EQ(ours.as_double(), theirs.number_value()) << where;
      break;
    case Theirs::kStringValue:
      EXPECT_EQ(ours.as_string(), theirs.string_value()) << where;
      break;
    case Theirs::kListValue: {
      ASSERT_TRUE(ours.is_array()) << where;
      ASSERT_EQ(ours.size(), static_cast<std::size_t>(theirs.list_value().values_size())) << where;
      int i = 0;
      for (const Value item : ours.items()) {
        expect_same(item, theirs.list_value().values(i), where + "[" + std::to_string(i) + "]");
        ++i;
      }
      break;
    }
    case Theirs::kStructValue:
      ASSERT_TRUE(ours.is_object()) << where;
      for (const auto& [key, value] : theirs.struct_value().fields()) expect_same(ours[key], value, where + "." + key);
      break;
    case Theirs::KIND_NOT_SET:
      break;
  }
}

bool accepted(const std::string& text) {
  bool whole = false;
  testing::feed_every_way(text, [&](const testing::Pieces& pieces) -> std::string {
    Digest digest(everything(true));
    for (const std::string_view piece : pieces) digest.feed(piece);
    whole = digest.finish() == ParseState::kDone;
    return whole ? "accepted" : "refused";
  });
  return whole;
}

TEST(JsonConformance, JsonTestSuite) {
  std::size_t files = 0;
  for (const auto& path : testing::vector_files("JSONTestSuite/test_parsing")) {
    const std::string name = path.filename();
    const std::string text = testing::read_file(path);
    if (text.size() > 10000) {  // deep nesting: not at every split
      Digest digest(everything(true));
      digest.feed(text);
      EXPECT_NE(digest.finish(), ParseState::kDone) << name;
    } else if (name.starts_with("y_")) {
      EXPECT_TRUE(accepted(text)) << name;
    } else if (name.starts_with("n_")) {
      EXPECT_FALSE(accepted(text)) << name;
    } else {
      accepted(text);  // either way, but the same one however it is cut
    }
    ++files;
    Digest lenient(everything(false));
    lenient.feed(text);
    lenient.finish();
  }
  EXPECT_EQ(files, 318u);
}

TEST(JsonConformance, StreamDialectReadsWhatStrictReads) {
  for (const auto& path : testing::vector_files("JSONTestSuite/test_parsing")) {
    if (!path.filename().string().starts_with("y_")) continue;
    Digest digest(everything(false));
    digest.feed(testing::read_file(path));
    EXPECT_EQ(digest.finish(), ParseState::kDone) << path;
  }
}

TEST(JsonConformance, SameValuesAsProtobufOnTheVectors) {
  std::size_t compared = 0;
  for (const char* folder : {"JSONTestSuite/test_parsing", "JSONTestSuite/test_transform"}) {
    for (const auto& path : testing::vector_files(folder)) {
      const std::string text = testing::read_file(path);
      Digest ours(everything(true));
      ours.feed(text);
      google::protobuf::Value theirs;
      if (ours.finish() != ParseState::kDone) continue;
      if (!google::protobuf::util::JsonStringToMessage(text, &theirs).ok()) continue;
      // protobuf keeps lone surrogates and invalid UTF-8 in its own way.
      if (text.find("\\u") != std::string::npos && text.find("\\uD") != std::string::npos) continue;
      expect_same(ours.root(), theirs, path.filename());
      ++compared;
    }
  }
  EXPECT_GT(compared, 80u);
}

// Random documents, written with random white space and escapes.
class Generator {
 public:
  explicit Generator(std::uint32_t seed) : random_(seed) {}
  std::string document() {
    out_.clear();
    value(0);
    return out_;
  }

 private:
  std::size_t pick(std::size_t n) { return random_() % n; }
  void space() {
    static constexpr std::string_view kSpaces[] = {"", "", "", " ", "\n", "\t\r\n  "};
    out_ += kSpaces[pick(std::size(kSpaces))];
  }
  void string() {
    static constexpr std::string_view kPieces[] = {
        "a",
        "text ",
        "\\n",
        "\\\"",
        "\\\\",
        "\\/",
        "\\u0041",
        "\\u00e9",
        "\\u20AC",
        "\\ud83d\\ude00",
        "é",
        "€",
        "a longer piece of text that fills more than one vector register, and then some more of it",
        "{",
        "]",
        ",",
        ":"};
    out_ += '"';
    for (std::size_t i = pick(6); i != 0; --i) out_ += kPieces[pick(std::size(kPieces))];
    out_ += '"';
  }
  void value(int depth) {
    space();
    switch (pick(depth > 5 ? 5 : 8)) {
      case 0:
        out_ += "null";
        break;
      case 1:
        out_ += pick(2) == 0 ? "true" : "false";
        break;
      case 2:
        out_ += std::to_string(static_cast<std::int64_t>(random_()) - (1 << 30));
        break;
      case 3:
        out_ += std::to_string(pick(1000)) + "." + std::to_string(pick(1000)) + (pick(2) == 0 ? "e-3" : "E+5");
        break;
      case 4:
        string();
        break;
      case 5:
      case 6:
        out_ += '{';
        for (std::size_t n = pick(5), i = 0; i < n; ++i) {
          if (i != 0) out_ += ',';
          space();
          // protobuf refuses duplicate keys.
          out_ += "\"k" + std::to_string(i) + (pick(4) == 0 ? "\\u0041" : "") + "\"";
          space();
          out_ += ':';
          value(depth + 1);
          space();
        }
        out_ += '}';
        break;
      default:
        out_ += '[';
        for (std::size_t n = pick(5), i = 0; i < n; ++i) {
          if (i != 0) out_ += ',';
          value(depth + 1);
          space();
        }
        out_ += ']';
        break;
    }
  }
  std::mt19937 random_;
  std::string out_;
};

TEST(JsonConformance, SameValuesAsProtobufOnRandomDocuments) {
  Generator generator(11);
  for (int round = 0; round < 3000; ++round) {
    const std::string text = generator.document();
    google::protobuf::Value theirs;
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(text, &theirs).ok()) << text;
    for (const bool strict : {true, false}) {
      Digest ours(everything(strict));
      ours.feed(text);
      ASSERT_EQ(ours.finish(), ParseState::kDone) << text;
      expect_same(ours.root(), theirs, text);
    }
    if (::testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace penstock::parsers::wire::json
