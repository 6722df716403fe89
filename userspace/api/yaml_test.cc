// What the strict reader accepts, and what it says about everything else.
#include "userspace/api/yaml.h"
#include "userspace/api/yaml_json.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "userspace/api/policy.pb.h"

namespace penstock::api {
namespace {

using ::testing::HasSubstr;

YamlFile read(std::string_view text, YamlOptions options = {}) {
  return read_yaml(text, "p.yaml", Policy::default_instance(), options);
}

// Every diagnostic as "file:line:column: message | hint", one a line.
std::string complaints(std::string_view text, YamlOptions options = {}) {
  std::string all;
  for (const Diagnostic& d : read(text, options).diagnostics) all += d.text() + " | " + d.hint + "\n";
  return all;
}

Policy policy(std::string_view text) {
  YamlFile file = read(text);
  EXPECT_EQ(complaints(text), "");
  Policy p;
  if (!file.documents.empty()) p.CopyFrom(*file.documents[0].message);
  return p;
}

// The example of docs: every kind of key once.
constexpr std::string_view kFull = R"(kind: Policy
name: research-team
match: { namespace: research, agent: "*", label.team: [a, b] }
mode: enforce
budgets:
  - { name: daily, per: [agent], usd: 25, window: 1d, tz: Europe/Berlin, soft: 80%, on_breach: hold }
  - { name: burst, soft: [50%, 87.5%], per: [run], tokens: 200k, window: 60s rolling, on_breach: pace }
  - { name: org, per: [namespace], usd: "25.50", window: 30d, shared: cluster, on_breach: deny }
rules:
  - { deny: { model: "gpt-5*" , unless: { label.team: platform } } }
  - { allow: { provider: [anthropic, openai], tool: ["search.*", "jira.read*"] } }
  - { approve: { tool: "payments.*" }, hold: 10m, otherwise: deny }
loops: { same_call: 5 in 60s, cycle: 4, on_breach: hold }
delegation: { max_depth: 3, inherit: [budgets, denies] }
on_failure: hold-last
unpriced: token_cap
lease: { requests: 2k, bytes: 1MiB }
)";

TEST(YamlOfJson, KeepsEveryValueAndDigit) {
  EXPECT_EQ(yaml_of_json("{}"), "{}\n");
  EXPECT_EQ(yaml_of_json("[]"), "[]\n");
  EXPECT_EQ(
      yaml_of_json(R"({"a":9007199254740993,"b":"text","c":"yes","d":"12","e":"a: b","f":true,"g":null,"h":-1.5e3})"),
      "a: 9007199254740993\nb: text\nc: \"yes\"\nd: \"12\"\ne: \"a: b\"\nf: true\ng: null\nh: -1.5e3\n");
  EXPECT_EQ(yaml_of_json(R"({"list":[{"x":1,"w":[]},{"x":2,"w":{"z":"\"q\"\n"}},3],"empty":{},"last":["a","b"]})"),
            "list:\n  - x: 1\n    w: []\n  - x: 2\n    w:\n      z: \"\\\"q\\\"\\n\"\n  - 3\nempty: {}\nlast:\n  - a\n "
            " - b\n");
  EXPECT_EQ(yaml_of_json("{\n  \"a b\": {\n    \"c\": \"\"\n  }\n}"), "\"a b\":\n  c: \"\"\n");
}

TEST(Yaml, ReadsEveryKindOfValue) {
  const Policy p = policy(kFull);
  EXPECT_EQ(p.name(), "research-team");
  EXPECT_EQ(p.match().namespace_(0), "research");
  EXPECT_EQ(p.match().labels(0).label(), "team");
  EXPECT_EQ(p.match().labels(0).values_size(), 2);
  EXPECT_EQ(p.mode(), MODE_ENFORCE);
  ASSERT_EQ(p.budgets_size(), 3);
  EXPECT_EQ(p.budgets(0).nano_usd(), 25'000'000'000);
  EXPECT_EQ(p.budgets(0).soft_permille(0), 800u);
  EXPECT_EQ(p.budgets(1).tokens(), 200'000u);
  EXPECT_TRUE(p.budgets(1).window().rolling());
  EXPECT_FALSE(p.budgets(1).has_nano_usd());
  EXPECT_EQ(p.budgets(2).nano_usd(), 25'500'000'000);
  EXPECT_EQ(p.budgets(2).shared(), Policy::SHARED_CLUSTER);
  ASSERT_EQ(p.rules_size(), 3);
  EXPECT_EQ(p.rules(0).deny().when().request().model(0), "gpt-5*");
  EXPECT_EQ(p.rules(0).deny().unless().subject().labels(0).values(0), "platform");
  EXPECT_EQ(p.rules(2).hold_ns(), 600'000'000'000u);
  EXPECT_EQ(p.loops().same_call().count(), 5u);
  EXPECT_EQ(p.delegation().inherit_size(), 2);
  EXPECT_EQ(p.on_failure(), ON_FAILURE_HOLD_LAST);
  EXPECT_EQ(p.unpriced(), Policy::UNPRICED_TOKEN_CAP);
  EXPECT_EQ(p.lease().bytes(), 1u << 20);
}

TEST(Yaml, RemembersWhereValuesAre) {
  const YamlFile file = read(kFull);
  ASSERT_EQ(file.documents.size(), 1u);
  EXPECT_EQ(file.documents[0].find("budgets[1].window").line, 7);
  EXPECT_EQ(file.documents[0].find("budgets[0].name"), (Position{6, 13}));
  // What is absent is at its nearest parent.
  EXPECT_EQ(file.documents[0].find("budgets[1].soft").line, 7);
  EXPECT_EQ(file.documents[0].find("deadline"), (Position{1, 1}));
}

TEST(Yaml, WritesWhatItReads) {
  const Policy p = policy(kFull);
  const std::string text = write_yaml(p, /*kind=*/true);
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(p, policy(text))) << text;
  EXPECT_EQ(write_yaml(policy(text), true), text);
}

TEST(Yaml, QuotesWhatWouldMeanSomethingElse) {
  for (const char* odd : {"true", "null", "~", "12", "a: b", "- x", "*", "&a", "\"", "\\", " x", "x ", "#c", "a\tb",
                          "é…", "%", "{", "y"}) {
    Policy p;
    p.set_name("n");
    p.mutable_match()->add_agent(odd);
    EXPECT_EQ(policy(write_yaml(p, false)).match().agent(0), odd) << write_yaml(p, false);
  }
}

TEST(Yaml, SeveralDocuments) {
  const YamlFile file = read("name: a\n---\nname: b\n---\n---\n# nothing\n---\nname: c\n");
  EXPECT_TRUE(file.diagnostics.empty());
  ASSERT_EQ(file.documents.size(), 3u);
  EXPECT_EQ(file.documents[2].at.line, 8);
}

struct Case {
  const char* text;
  const char* complaint;
};

TEST(Yaml, SaysWhatIsWrongAndWhere) {
  const Case cases[] = {
      {"name: a\nbudgts: []\n", "p.yaml:2:1: unknown key `budgts` | did you mean `budgets`?\n"},
      {"name: a\nzzzzzz: 1\n",
       "p.yaml:2:1: unknown key `zzzzzz` | known keys: name, match, mode, budgets, rules, loops, delegation, "
       "on_failure, deadline, "
       "opaque, unpriced, hold_h2, lease\n"},
      {"name: a\nname: b\n", "p.yaml:2:1: key `name` is given twice | remove one of them\n"},
      {"name: a\nbudgets:\n  - name: x\n    usd: 1\n    usd: 2\n",
       "p.yaml:5:5: key `usd` is given twice | remove one of them\n"},
      {"mode: enforce\n", "p.yaml:1:1: key `name` is missing | unique among all policies: a-z 0-9 . _ -\n"},
      {"name: a\nmode: enforced\n", "p.yaml:2:7: unknown value `enforced` | did you mean `enforce`?\n"},
      {"name: a\nmode: [enforce]\n", "p.yaml:2:7: expected a single value, found a list | \n"},
      {"name: a\nbudgets: { name: b }\n", "p.yaml:2:10: expected a list, found a map of keys | \n"},
      {"name: a\nbudgets: [ 1 ]\n", "p.yaml:2:12: expected a map of keys, found `1` | \n"},
      {"name: a\nmatch: everyone\n", "p.yaml:2:8: expected a map of keys, found `everyone` | \n"},
      {"name: a\nmatch: { agent: { x: y } }\n", "p.yaml:2:17: expected a list, found a map of keys | \n"},
      {"name: a\nmatch: { agent: [ [x] ] }\n", "p.yaml:2:19: expected a single value, found a list | \n"},
      {"name: a\nmatch: { agent: \"\" }\n", "p.yaml:2:17: must not be empty | name of the agent\n"},
      {"name: \"\"\n", "p.yaml:1:7: must not be empty | unique among all policies: a-z 0-9 . _ -\n"},
      {"name:\n", "p.yaml:1:1: key `name` has no value | unique among all policies: a-z 0-9 . _ -\n"},
      {"name: a\nbudgets: [{ name: b, usd: 1e3 }]\n",
       "p.yaml:2:27: expected an amount in US dollars such as 25 or 0.50, found `1e3` | \n"},
      {"name: a\nbudgets: [{ name: b, usd: -1 }]\n",
       "p.yaml:2:27: expected an amount in US dollars such as 25 or 0.50, found `-1` | \n"},
      {"name: a\nbudgets: [{ name: b, tokens: 2m }]\n",
       "p.yaml:2:30: expected a number such as 1500, 200k or 2M, found `2m` | \n"},
      {"name: a\nbudgets: [{ name: b, window: daily }]\n",
       "p.yaml:2:30: expected a window such as 1d, 1w, 1mo or 60s rolling, found `daily` | \n"},
      {"name: a\nloops: { cycle: 99999999999 }\n", "p.yaml:2:17: `99999999999` is too large | \n"},
      {"name: a\nloops: { cycle: \"4\" }\n", "p.yaml:2:17: expected a whole number, found `4` | \n"},
      {"name: a\ndeadline: 10\n", "p.yaml:2:11: expected a duration such as 250ms, 60s, 10m or 1d, found `10` | \n"},
      {"kind: Polcy\nname: a\n", "p.yaml:1:7: unknown kind `Polcy` | this file holds `kind: Policy` documents\n"},
      {"- name: a\n", "p.yaml:1:1: expected a map of keys, found a list | \n"},
      {"just text\n", "p.yaml:1:1: expected a map of keys, found a single value | \n"},
      {"name: &x a\n", "p.yaml:1:7: anchors are not supported | write the value out where it is used\n"},
      {"name: *x\n", "p.yaml:1:7: the referenced anchor is not defined | the text is no valid YAML here\n"},
      {"name: !!str a\n", "p.yaml:1:7: tags are not supported | remove the `!` or `!!` word\n"},
      {"name: \"a\n", "p.yaml:1:7: the quoted text has no end | close it with \"\n"},
      {"name: 'it''s\nmode: enforce\n", "p.yaml:1:7: the quoted text has no end | close it with '\n"},
      {"[a, b]: c\n", "p.yaml:1:1: a key must be a single word | \n"},
      {"name: a\nmatch: { label.: x }\n", "p.yaml:2:10: unknown key `label.` | known keys: agent"},
      {"name: \x01\n", "p.yaml:1:7: not UTF-8 text | save the file as UTF-8 without control characters\n"},
      {"name: a\nx: \xff\n", "p.yaml:2:4: not UTF-8 text | save the file as UTF-8 without control characters\n"},
  };
  for (const Case& c : cases) EXPECT_THAT(complaints(c.text), HasSubstr(c.complaint)) << c.text;
}

TEST(Yaml, SyntaxErrorsHaveAPlace) {
  for (const char* bad : {"name: [a\n", "name: {a: b\n", "a: b: c\n", "\tname: a\n", "name: a\n  b: c\n",
                          "%YAML 9.9\n---\nname: a\n", "@x: y"}) {
    const YamlFile file = read(bad);
    ASSERT_TRUE(has_errors(file.diagnostics)) << bad;
    EXPECT_GT(file.diagnostics.back().at.line, 0) << bad << file.diagnostics.back().text();
  }
}

TEST(Yaml, QuotedTextMayHoldAnything) {
  EXPECT_EQ(policy("name: n\nmatch: { agent: 'it''s \"x\"' }\n").match().agent(0), "it's \"x\"");
  EXPECT_EQ(policy("name: n\nmatch: { agent: \"é \\\"x\\\\\" }\n").match().agent(0), "é \"x\\");
  EXPECT_EQ(policy("\xEF\xBB\xBFname: \"after a byte order mark\"\n").name(), "after a byte order mark");
  EXPECT_EQ(policy("name: |-\n  block \"text\n").name(), "block \"text");
}

TEST(Yaml, KindCanBeRequired) {
  YamlOptions options;
  options.kind_required = true;
  EXPECT_EQ(complaints("name: a\n", options),
            "p.yaml:1:1: key `kind` is missing | begin the document with `kind: Policy`\n");
  EXPECT_EQ(complaints("kind: Policy\nname: a\n", options), "");
}

TEST(Yaml, EveryErrorIsReportedUpToABound) {
  EXPECT_EQ(
      complaints("nam: a\nmod: b\n"),
      "p.yaml:1:1: unknown key `nam` | did you mean `name`?\np.yaml:2:1: unknown key `mod` | did you mean `mode`?\n"
      "p.yaml:1:1: key `name` is missing | unique among all policies: a-z 0-9 . _ -\n");
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "k" + std::to_string(i) + ": 1\n";
  EXPECT_EQ(read(many).diagnostics.size(), YamlOptions{}.max_diagnostics);
}

TEST(Yaml, HostileTextIsBounded) {
  EXPECT_THAT(complaints(std::string((1 << 20) + 1, ' ')), HasSubstr("larger than 1048576 bytes"));
  EXPECT_THAT(complaints("a: " + std::string(100, '[')), HasSubstr("nested more than 16 levels deep"));
  EXPECT_THAT(complaints("a: " + std::string(100'000, '[')), HasSubstr("nested more than 16 levels deep"));
  std::string block;
  for (std::size_t i = 0; i < 100; ++i) block += std::string(i, ' ') + "a:\n";
  EXPECT_THAT(complaints(block), HasSubstr("nested more than 16 levels deep"));
  std::string wide = "name: a\nmatch: { agent: [";
  for (int i = 0; i < 200'000; ++i) wide += "x,";
  EXPECT_THAT(complaints(wide + "x] }\n"), HasSubstr("more than 100000 values"));
  // A bomb needs aliases; there are none.
  EXPECT_THAT(complaints("a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n"), HasSubstr("anchors are not supported"));
  std::string documents;
  for (int i = 0; i < 2000; ++i) documents += "---\nname: a\n";
  EXPECT_THAT(complaints(documents), HasSubstr("more than 1024 documents"));
  // A long value is shown in part, cut between characters.
  const std::string complaint = complaints("name: a\nmode: x" + std::string(39, 'x') + "éééé\n");
  EXPECT_THAT(complaint, HasSubstr("unknown value `" + std::string(40, 'x') + "…`"));
}

TEST(ReadTextFile, SaysWhyNot) {
  EXPECT_EQ(read_text_file("/nonexistent/x").error().message(),
            "/nonexistent/x: cannot be read (No such file or directory)");
  EXPECT_EQ(read_text_file("/").error().message(), "/: cannot be read (Is a directory)");
  EXPECT_EQ(read_text_file("/dev/zero").error().message(), "/dev/zero: larger than 1048576 bytes");
  EXPECT_EQ(read_text_file("/dev/zero").error().code, base::ErrorCode::kUsage);
}

}  // namespace
}  // namespace penstock::api
