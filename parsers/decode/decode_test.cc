// Capture files: what is written is read again, however the file was cut or broken.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "parsers/core/testing.h"
#include "parsers/decode/har.h"
#include "parsers/decode/line.h"
#include "parsers/decode/pncap.h"
#include "parsers/session/session.h"

namespace penstock::parsers::decode {
namespace {

struct Collector final : parsers::testing::Completed {
  std::string lines;
  void on_complete(model::Exchange& exchange) override {
    if (exchange.kind != model::Kind::kHttp) lines += exchange_line("", exchange) + "\n";
  }
};

constexpr std::string_view kHar = R"({"log":{"version":"1.2","entries":[
{"request":{"method":"POST","url":"https://api.openai.com/v1/chat/completions","headers":[{"name":"content-type","value":"application/json"}],
 "postData":{"text":"{\"model\":\"gpt-4o\",\"messages\":[]}"}},
 "response":{"status":200,"headers":[],"content":{"text":"{\"id\":\"c1\",\"model\":\"gpt-4o-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}"}}},
{"request":{"method":"GET","url":"https://example.com/","headers":[]},"response":{"status":204,"headers":[],"content":{}}},
{"request":{"method":"POST","url":"https://api.anthropic.com/v1/messages","headers":[],"postData":{"text":"{\"model\":\"claude-x\",\"max_tokens\":5,\"messages\":[]}"}},
 "response":{"status":200,"headers":[],"content":{"text":"{\"type\":\"message\",\"id\":\"m1\",\"model\":\"claude-x\",\"content\":[],\"usage\":{\"input_tokens\":7,\"output_tokens\":2}}"}}}]}})";

struct Both {
  std::string direct;
  std::string file;
};

Both both() {
  Collector collector;
  PncapWriter writer;
  std::uint64_t connections = 0;
  EXPECT_TRUE(read_har(kHar, [&](const HarEntry& entry) {
    const Conversation conversation = as_http1(entry);
    writer.add(++connections, conversation);
    replay(conversation, *session::make_connection_parser(entry.endpoint, false, collector));
  }));
  return {collector.lines, writer.file()};
}

TEST(PncapTest, ReadsWhatWasWritten) {
  const Both made = both();
  ASSERT_TRUE(is_pncap(made.file));
  EXPECT_FALSE(is_pncap(kHar));
  Collector again;
  ASSERT_TRUE(replay_pncap(made.file, session::make_connection_parser, again));
  EXPECT_EQ(made.direct, again.lines);
  EXPECT_NE(std::string::npos, again.lines.find("\"input_tokens\":7"));
}

TEST(PncapTest, ACutFileIsGoodUpToItsLastRecord) {
  const Both made = both();
  std::size_t errors = 0;
  for (std::size_t size = made.file.find('\n') + 1; size < made.file.size(); ++size) {
    Collector prefix;
    const auto result =
        replay_pncap(std::string_view(made.file).substr(0, size), session::make_connection_parser, prefix);
    if (!result) ++errors;
    // A connection whose answer did not come ends without a wrong number.
    EXPECT_EQ(std::string::npos, prefix.lines.find("\"output_tokens\":9"));
    EXPECT_LE(prefix.lines.size(), made.direct.size() + 64);
  }
  EXPECT_GT(errors, made.file.size() / 2) << "a cut inside a record is said";
}

TEST(PncapTest, BrokenFilesAreRefused) {
  const Both made = both();
  for (std::size_t at = made.file.find('\n') + 1; at < made.file.size(); ++at) {
    std::string broken = made.file;
    broken[at] = static_cast<char>(broken[at] ^ 0xff);
    Collector ignored;
    (void)replay_pncap(broken, session::make_connection_parser, ignored);  // no crash, no endless loop
  }
  Collector ignored;
  EXPECT_FALSE(replay_pncap("PNCAP1\n\xff\xff\xff\xff\x0f", session::make_connection_parser, ignored))
      << "a record of 4 GiB";
}

}  // namespace
}  // namespace penstock::parsers::decode
