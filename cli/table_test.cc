#include "cli/table.h"

#include <gtest/gtest.h>

#include <sstream>

#include "userspace/base/utf8.h"

namespace penstock::cli {
namespace {

Table sample() {
  Table t({{"AGENT", Align::kLeft, 8}, {"MODEL", Align::kLeft, 8}, {"COST", Align::kRight}});
  t.row({"crawler", "gpt-5-mini", "$0.0312"});
  t.row({"namespace/deployment-with-a-very-long-name/container",
         "anthropic.claude-sonnet-4-5-20250929-v1:0",
         {"$12.50", Tone::kWarn}});
  t.row({"größe", "–", "–"});
  return t;
}

TEST(Table, IsAsWideAsItsContentWithoutATerminal) {
  EXPECT_EQ(
      sample().text(0, false),
      "AGENT                                                 MODEL                                         COST\n"
      "crawler                                               gpt-5-mini                                 $0.0312\n"
      "namespace/deployment-with-a-very-long-name/container  anthropic.claude-sonnet-4-5-20250929-v1:0   $12.50\n"
      "größe                                                 –                                                –\n");
}

TEST(Table, ShrinksToTheTerminal) {
  EXPECT_EQ(sample().text(80, false),
            "AGENT                               MODEL                                   COST\n"
            "crawler                             gpt-5-mini                           $0.0312\n"
            "namespace/deployment-with-a-very-…  anthropic.claude-sonnet-4-5-202509…   $12.50\n"
            "größe                               –                                          –\n");
  std::istringstream lines(sample().text(40, false));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(base::utf8_length(line), 40u) << line;
}

TEST(Table, NamesCannotDriveTheTerminal) {
  Table t({{"NAME"}});
  t.row({"evil\x1b[2J\r\n\xff"});
  EXPECT_EQ(t.text(0, false), "NAME\nevil [2J  \xef\xbf\xbd\n");
}

TEST(Table, ColorsDoNotChangeTheWidth) {
  const std::string plain = sample().text(60, false);
  std::string colored = sample().text(60, true);
  for (std::size_t at; (at = colored.find('\x1b')) != std::string::npos;)
    colored.erase(at, colored.find('m', at) - at + 1);
  EXPECT_EQ(colored, plain);
}

}  // namespace
}  // namespace penstock::cli
