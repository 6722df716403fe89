#include "parsers/wire/multipart/multipart.h"

#include <gtest/gtest.h>

#include "parsers/wire/testing.h"

namespace penstock::parsers::wire::multipart {
namespace {

using testing::feed_every_way;
using testing::Pieces;

struct Log : Sink {
  std::string out;
  void on_part_begin(const Part& part) override {
    out += part.name + (part.is_file ? "@" + part.filename : "") +
           (part.content_type.empty() ? "" : ":" + part.content_type) + "[";
  }
  void on_part_data(std::string_view piece) override { out += piece; }
  void on_part_end(bool whole) override { out += whole ? "] " : "~] "; }
};

std::string parse(std::string_view body, std::string_view boundary = "XX") {
  return feed_every_way(body, [&](const Pieces& pieces) {
    Log log;
    Parser parser(boundary, log);
    for (const std::string_view piece : pieces) parser.feed(piece);
    const ParseState end = parser.finish();
    return log.out + (end == ParseState::kDone ? "done" : end == ParseState::kInvalid ? "invalid" : "open");
  });
}

const std::string kModel = "--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n";

TEST(Multipart, FieldsAndFiles) {
  EXPECT_EQ(
      parse(kModel +
            "--XX\r\ncontent-disposition: form-data; name=file;\r\n filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n"
            "\r\nRI\r\nFF\r\n-\r\n--X\r\r\n--XX--\r\nepilogue"),
      "model[whisper-1] file@a.wav:audio/wav[RI\r\nFF\r\n-\r\n--X\r] done");
}

TEST(Multipart, PreambleEmptyPartsAndBareLineFeeds) {
  EXPECT_EQ(parse("ignored\r\n" + kModel + "--XX\nContent-Disposition: form-data; name=e\n\n\r\n--XX--"),
            "model[whisper-1] e[] done");
  EXPECT_EQ(parse("--XX\r\nContent-Disposition: form-data; name=e\r\n\r\n--XX--\r\n"), "e[] done");
  EXPECT_EQ(parse("--XX  \r\n\r\nx\r\n--XX--"), "[x] done");
}

TEST(Multipart, LineFeedsThroughout) {
  EXPECT_EQ(parse("--XX\nContent-Disposition: form-data; name=\"model\"\n\nwhisper-1\n--XX\n"
                  "Content-Disposition: form-data; name=\"file\"; filename=\"a\"\n\nR\r\nI\nFF\n--XX--\n"),
            "model[whisper-1] file@a[R\r\nI\nFF] done");
  EXPECT_EQ(parse("--XX\nContent-Disposition: form-data; name=e\n\n--XX--"), "e[] done");
}

TEST(Multipart, ABodyThatIsCut) {
  EXPECT_EQ(parse(kModel.substr(0, kModel.size() - 4)), "model[whisper~] open");
  EXPECT_EQ(parse(kModel), "model[whisper-1~] open");
}

TEST(Multipart, ABoundaryThatIsLongerIsAnother) {
  EXPECT_EQ(parse("--XXY\r\n\r\nx\r\n"), "invalid");
  EXPECT_EQ(parse("x", ""), "invalid");
  EXPECT_EQ(parse("no boundary at all"), "open");
}

TEST(Multipart, HeadsAreBounded) { EXPECT_EQ(parse("--XX\r\nX: " + std::string(20000, 'x')), "invalid"); }

}  // namespace
}  // namespace penstock::parsers::wire::multipart
