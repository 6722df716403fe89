// docs/policy.md says what the code does.
#include <gtest/gtest.h>

#include "userspace/api/doc_page.h"
#include "userspace/policy/check.h"
#include "userspace/policy/testing.h"

namespace penstock::policy {
namespace {

TEST(PolicyPage, ExamplesAreAccepted) {
  const api::DocPage page(PENSTOCK_SOURCE_DIR "/docs/policy.md");
  const std::vector<std::string> examples = page.yaml_blocks();
  ASSERT_FALSE(examples.empty());
  Support support;  // what the daemon enforces
  support.approvals = support.delegation = support.tools = true;
  for (const std::string& example : examples) {
    const LoadedPolicies loaded = read_policies(example, "docs/policy.md", support);
    EXPECT_EQ(testing::complaints(loaded.diagnostics), "") << example;
    EXPECT_TRUE(compile(loaded.set, {}, support)) << example;
  }
}

TEST(PolicyPage, HasEveryKey) {
  api::DocPage page(PENSTOCK_SOURCE_DIR "/docs/policy.md");
  const std::string expected = api::schema_markdown(*api::Policy::descriptor());
  EXPECT_EQ(page.generated(expected), expected) << "run this test once with PENSTOCK_WRITE_DOCS=1";
}

}  // namespace
}  // namespace penstock::policy
