#include "userspace/api/glob.h"

#include <gtest/gtest.h>

namespace penstock::api {
namespace {

TEST(Glob, Matches) {
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_TRUE(glob_match("*", "a/b"));
  EXPECT_TRUE(glob_match("gpt-5*", "gpt-5-mini"));
  EXPECT_TRUE(glob_match("*/python3*", "/usr/bin/python3.11"));
  EXPECT_TRUE(glob_match("a*b*c", "a-b-b-c"));
  EXPECT_TRUE(glob_match("a?c", "abc"));
  EXPECT_TRUE(glob_match("a\\*c", "a*c"));
  EXPECT_TRUE(glob_match("a\\\\", "a\\"));
  EXPECT_TRUE(glob_match("a\\", "a\\"));  // nothing to escape: itself
  EXPECT_TRUE(glob_match("GPT-*", "gpt-5", Case::kIgnore));

  EXPECT_FALSE(glob_match("", "a"));
  EXPECT_FALSE(glob_match("a", ""));
  EXPECT_FALSE(glob_match("gpt-5*", "xgpt-5"));
  EXPECT_FALSE(glob_match("a?c", "ac"));
  EXPECT_FALSE(glob_match("a\\*c", "abc"));
  EXPECT_FALSE(glob_match("\\?", "a"));
  EXPECT_FALSE(glob_match("GPT-*", "gpt-5"));
  EXPECT_FALSE(glob_match("*a", "ab"));
}

TEST(Glob, EscapedTextMatchesOnlyItself) {
  for (const char* text : {"plain", "a*b", "a?b", "a\\b", "\\*", ""}) {
    EXPECT_TRUE(glob_match(glob_escape(text), text)) << text;
    EXPECT_FALSE(glob_match(glob_escape(text), std::string(text) + "x")) << text;
  }
  EXPECT_FALSE(glob_match(glob_escape("a*b"), "aXb"));
}

// The classic blow-up of backtracking matchers: 2^40 steps for a naive one.
TEST(Glob, ManyStarsAreCheap) {
  std::string pattern;
  for (int i = 0; i < 40; ++i) pattern += "*a";
  EXPECT_FALSE(glob_match(pattern + "b", std::string(4000, 'a')));
}

}  // namespace
}  // namespace penstock::api
