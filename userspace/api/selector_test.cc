#include "userspace/api/selector.h"

#include <gtest/gtest.h>

namespace penstock::api {
namespace {

model::Exchange exchange() {
  model::Exchange e;
  e.id = 7;
  e.provider = "openai";
  e.request_model = "gpt-5";
  e.response_model = "gpt-5-2026-01-01";
  e.subject.agent = "nightly";
  e.subject.run = "nightly/12-34";
  e.subject.exe = "/usr/bin/python3.11";
  e.subject.cgroup = "/penstock/run-1/inner";
  e.subject.process.pid = 12;
  return e;
}

TEST(Selector, GlobsOverWhatIsKnown) {
  const model::Exchange e = exchange();
  for (const char* yes : {"agent=nightly", "agent=night*", "run=nightly/*", "exe=*/python3*", "pid=12", "exchange=7",
                          "model=gpt-5", "model=*2026*", "model=GPT-5", "provider=OpenAI", "all", "cgroup=/penstock",
                          "cgroup=/", "cgroup=/penstock/run-?", "cgroup=/penstock/run-1/inner"})
    EXPECT_TRUE(matches(*parse_selector(yes), e)) << yes;
  for (const char* no : {"agent=night", "agent=Nightly", "pid=13", "exchange=8", "model=gpt-4*", "cgroup=/pen",
                         "cgroup=/penstock/run-1/inner/x", "pod=*", "namespace=*", "unit=*"})
    EXPECT_FALSE(matches(*parse_selector(no), e)) << no;
}

TEST(Selector, SaysWhatWasMeant) {
  const auto hint = [](const char* text) {
    return parse_selector(text).error().message() + " | " + parse_selector(text).error().hint;
  };
  EXPECT_EQ(hint("agnet=x"), "unknown selector \"agnet=x\" | did you mean `agent`?");
  EXPECT_EQ(hint("agent"), "incomplete selector \"agent\" | write agent=VALUE");
  EXPECT_EQ(hint("pid=x"), "bad selector \"pid=x\" | pid= takes a whole number");
  EXPECT_EQ(hint("all=true"), "unknown selector \"all=true\" | write `all` alone");
}

}  // namespace
}  // namespace penstock::api
