#include "userspace/api/config.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "userspace/api/doc_page.h"
#include "userspace/api/yaml.h"

namespace penstock::api {
namespace {

using ::testing::HasSubstr;

std::string complaints(std::string_view text) {
  std::string all;
  for (const Diagnostic& d : read_config(text, "c.yaml").diagnostics) all += d.text() + "\n";
  return all;
}

TEST(Config, AnEmptyFileIsTheDefault) {
  const LoadedConfig loaded = read_config("", "c.yaml");
  EXPECT_TRUE(loaded.diagnostics.empty());
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(loaded.config, default_config()));
  EXPECT_EQ(complaints(write_yaml(default_config(), true)), "");
}

TEST(Config, KeepsWhatTheFileSaysAndFillsTheRest) {
  const LoadedConfig loaded = read_config(R"(kind: Config
listen: ""
rings: { events: 64MiB }
endpoints:
  gateway.example.com:8443: openai
  llm.internal: anthropic
defaults: { mode: enforce, deadline: 250ms }
agents:
  - { name: nightly, match: { exe: /usr/bin/python3*, user: batch } }
)",
                                          "c.yaml");
  EXPECT_TRUE(loaded.diagnostics.empty());
  EXPECT_TRUE(loaded.config.has_listen());
  EXPECT_EQ(loaded.config.listen(), "");
  EXPECT_EQ(loaded.config.rings().events_bytes(), 64u << 20);
  EXPECT_EQ(loaded.config.rings().verdicts_bytes(), 16u << 20);
  EXPECT_EQ(loaded.config.endpoints().at("gateway.example.com:8443"), "openai");
  EXPECT_EQ(loaded.config.defaults().mode(), MODE_ENFORCE);
  EXPECT_EQ(loaded.config.defaults().deadline_ns(), 250'000'000u);
  EXPECT_EQ(loaded.config.defaults().on_failure(), ON_FAILURE_HOLD_LAST);
  EXPECT_EQ(loaded.config.agents(0).match().user(0), "batch");
}

TEST(Config, SaysWhatIsWrongAndWhere) {
  struct Case {
    const char* text;
    const char* complaint;
  };
  const Case cases[] = {
      {"listen: localhost\n", "c.yaml:1:9: `listen` must be ADDRESS:PORT"},
      {"listen: 127.0.0.1:70000\n", "c.yaml:1:9: `listen` must be ADDRESS:PORT"},
      {"rings: { events: 5MiB }\n", "c.yaml:1:18: `rings.events` must be a power of two"},
      {"state_dir: var\n", "c.yaml:1:12: `state_dir` must be an absolute path"},
      {"defaults: { deadline: 2h }\n", "c.yaml:1:23: `defaults.deadline` must be from 1ms to 1h"},
      {"endpoints: { \"a b\": openai }\n", "c.yaml:1:14: `a b` is not host or host:port"},
      {"endpoints: { a: openai, a: openai }\n", "c.yaml:1:25: key `a` is given twice"},
      {"endpoints: [a]\n", "c.yaml:1:12: expected a map of keys, found a list"},
      {"agents: [{ name: x, match: {} }]\n", "`match` is empty"},
      {"listn: x\n", "c.yaml:1:1: unknown key `listn`"},
      {"listen: 127.0.0.1:1\n---\nlisten: 127.0.0.1:2\n", "c.yaml:3:1: a configuration is one document"},
  };
  for (const Case& c : cases) EXPECT_THAT(complaints(c.text), HasSubstr(c.complaint)) << c.text;
}

TEST(Config, AMissingFileIsOneLine) {
  const auto config = load_config("/nonexistent.yaml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, base::ErrorCode::kUsage);
  EXPECT_EQ(config.error().message(), "/nonexistent.yaml: cannot be read (No such file or directory)");
}

// docs/configuration.md says what the code does.
TEST(ConfigPage, ExamplesAreAccepted) {
  const DocPage page(PENSTOCK_SOURCE_DIR "/docs/configuration.md");
  ASSERT_FALSE(page.yaml_blocks().empty());
  for (const std::string& example : page.yaml_blocks()) EXPECT_EQ(complaints(example), "") << example;
}

TEST(ConfigPage, HasEveryKey) {
  DocPage page(PENSTOCK_SOURCE_DIR "/docs/configuration.md");
  const std::string expected = schema_markdown(*Config::descriptor());
  EXPECT_EQ(page.generated(expected), expected) << "run this test once with PENSTOCK_WRITE_DOCS=1";
}

}  // namespace
}  // namespace penstock::api
