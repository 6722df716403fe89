// The event-stream messages of smithy-rs: one per file, valid_* and invalid_*.
#include <gtest/gtest.h>

#include "parsers/wire/eventstream/eventstream.h"
#include "parsers/wire/testing.h"
#include "parsers/wire/vectors.h"

namespace penstock::parsers::wire::eventstream {
namespace {

struct Count : Sink {
  std::size_t valid = 0, headers = 0;
  std::string payload;
  void on_message_begin(const Headers& h, std::uint32_t) override { headers = h.size(); }
  void on_payload(std::span<const std::uint8_t> bytes) override { payload += wire::testing::text(bytes); }
  void on_message_end(bool ok) override { valid += ok ? 1u : 0u; }
};

TEST(EventStreamConformance, Vectors) {
  std::size_t files = 0;
  for (const auto& path : wire::testing::vector_files("aws-eventstream/test_data")) {
    const std::string name = path.filename();
    wire::testing::feed_every_way(wire::testing::read_file(path), [&](const wire::testing::Pieces& pieces) {
      Count count;
      Parser parser(count);
      for (const std::string_view piece : pieces) parser.feed(wire::testing::bytes(piece));
      const bool whole = parser.finish() == ParseState::kDone;
      const bool valid = name.starts_with("valid_");
      EXPECT_EQ(count.valid, valid ? 1u : 0u) << name;
      EXPECT_EQ(whole && parser.invalid_messages() == 0, valid) << name;
      return std::to_string(count.headers) + count.payload;
    });
    ++files;
  }
  EXPECT_EQ(files, 11u);
}

}  // namespace
}  // namespace penstock::parsers::wire::eventstream
