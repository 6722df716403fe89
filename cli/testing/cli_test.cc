// Every subcommand against a fake daemon: what it asks, what it prints at 80 columns, how it fails.
#include <fstream>
#include <sstream>

#include "cli/testing/harness.h"
#include "userspace/base/utf8.h"

namespace penstock::cli::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

void expect_width(const std::string& text, std::size_t width) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(base::utf8_length(line), width) << line;
}

TEST_F(CliTest, HelpTeaches) {
  const auto top = run({"--help"});
  EXPECT_EQ(top.exit_code, 0);
  for (const char* word : {"run", "status", "doctor", "observe", "top", "agents", "budget", "kill", "release", "held",
                           "policy", "coverage", "graph", "prices", "completion", "Exit codes:", "PENSTOCK_SOCKET"})
    EXPECT_THAT(top.out, HasSubstr(word));
  for (const std::vector<std::string>& command : {std::vector<std::string>{"run"},
                                                  {"status"},
                                                  {"doctor"},
                                                  {"observe"},
                                                  {"top"},
                                                  {"agents"},
                                                  {"budget"},
                                                  {"budget", "list"},
                                                  {"budget", "set"},
                                                  {"budget", "reset"},
                                                  {"kill"},
                                                  {"release"},
                                                  {"held"},
                                                  {"policy"},
                                                  {"policy", "check"},
                                                  {"policy", "apply"},
                                                  {"policy", "list"},
                                                  {"policy", "remove"},
                                                  {"coverage"},
                                                  {"graph"},
                                                  {"graph"},
                                                  {"prices"},
                                                  {"completion"}}) {
    auto args = command;
    args.push_back("--help");
    const auto help = run(args);
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_THAT(help.out, AllOf(HasSubstr("Usage: "), HasSubstr("Examples:\n  "))) << command.front();
  }
}

TEST_F(CliTest, BadArgumentsAreOneLineAndAHint) {
  for (const std::vector<std::string>& args : {std::vector<std::string>{},
                                               {"nonsense"},
                                               {"status", "--nonsense"},
                                               {"status", "-o", "xml"},
                                               {"kill"},
                                               {"kill", "nonsense"},
                                               {"kill", "exchange=5"},
                                               {"release"},
                                               {"release", "pid=x"},
                                               {"budget", "set", "daily"},
                                               {"budget", "set", "daily", "--usd", "much"},
                                               {"budget"},
                                               {"run"},
                                               {"run", "--max-usd", "much", "--", "true"},
                                               {"run", "--mode", "loud", "--", "true"},
                                               {"top", "--interval", "0"},
                                               {"policy", "check", "/no/such/file"},
                                               {"observe", "--last", "few"},
                                               {"completion", "csh"}}) {
    const auto done = run(args);
    const std::string line = ::testing::PrintToString(args);
    EXPECT_EQ(done.exit_code, 2) << line << done.err;
    EXPECT_EQ(done.out, "") << line;
    EXPECT_THAT(done.err, StartsWith("penstock: ")) << line;
    const auto lines = std::count(done.err.begin(), done.err.end(), '\n');
    EXPECT_LE(lines, 2) << line << done.err;
  }
}

TEST_F(CliTest, WithoutADaemonEveryCommandSaysSo) {
  for (const std::vector<std::string>& args : {std::vector<std::string>{"status"},
                                               {"observe"},
                                               {"top"},
                                               {"agents"},
                                               {"budget", "list"},
                                               {"budget", "reset", "x"},
                                               {"kill", "all"},
                                               {"release", "all"},
                                               {"held"},
                                               {"policy", "list"},
                                               {"policy", "remove", "x"},
                                               {"coverage"},
                                               {"graph"},
                                               {"prices"}}) {
    const auto done = run(args);
    EXPECT_EQ(done.exit_code, 5) << args.front();
    EXPECT_EQ(done.err, "penstock: no daemon answers on " + socket_ +
                            "\nhint: start one with `penstockd`, or name its socket with --socket PATH\n");
  }
}

TEST_F(CliTest, ErrorsOfTheDaemonAreItsOwn) {
  control_.errors["Kill"] =
      base::Error{base::ErrorCode::kNotFound, 0, "no agent \"x\"", "`penstock agents` lists them"};
  serve();
  const auto done = run({"kill", "agent=x"});
  EXPECT_EQ(done.exit_code, 6);
  EXPECT_EQ(done.err, "penstock: no agent \"x\"\nhint: `penstock agents` lists them\n");
}

TEST_F(CliTest, Status) {
  control_.answers["GetStatus"] =
      R"({"version":"0.1.0","wire_version":1,"kernel":"6.18","pid":12,"started_real_ns":0,"ready":true,
    "socket":"/s","metrics_address":"127.0.0.1:9464","gate":"enforcing","policies":2,"agents":3,"connections":1234,
    "degraded":["no BTF for module x"],"totals":{"calls":10,"input_tokens":1000,"cost_nano_usd":5},"losses":{}})";
  serve();
  const auto done = run({"status"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_THAT(done.out, HasSubstr("daemon      penstockd 0.1.0, pid 12, up "));
  EXPECT_THAT(done.out, HasSubstr("degraded    no BTF for module x\n"));
  EXPECT_THAT(done.out, HasSubstr("tokens      1.00k in (– cached), – out\n"));
  EXPECT_THAT(done.out, HasSubstr("cost        <$0.0001\n"));
  EXPECT_THAT(done.out, HasSubstr("lost        nothing\n"));
  EXPECT_THAT(run({"status", "-o", "json"}).out, StartsWith("{\n  \"version\": \"0.1.0\",\n"));
  EXPECT_THAT(run({"status", "-o", "jsonl"}).out, StartsWith(R"({"version":"0.1.0",)"));
}

TEST_F(CliTest, Counters) {
  control_.answers["ListCounters"] =
      R"({"counters":[{"name":"events_lost","labels":{"stage":"ring","kind":"data"},"value":"1234"}]})";
  serve();
  EXPECT_EQ(run({"status", "--counters"}).out,
            "COUNTER      LABELS                VALUE\n"
            "events_lost  kind=data stage=ring  1,234\n");
}

TEST_F(CliTest, Agents) {
  control_.answers["ListAgents"] = R"({"agents":[
    {"agent":"research/crawler-with-a-long-name/main-container","runs":["a","b"],"mode":"enforce","models":["gpt-5-mini-2025-08-07","claude-sonnet-4-5"],
     "totals":{"calls":1200,"input_tokens":1200000,"output_tokens":34000,"cost_nano_usd":12500000000}},
    {"agent":"idle","mode":"observe","killed":true,"totals":{}}]})";
  serve();
  environment_["COLUMNS"] = "80";
  const auto done = run({"agents", "namespace=research"});
  EXPECT_EQ(done.out,
            "AGENT              RUNS  MODELS             CALLS     IN    OUT    COST  MODE\n"
            "research/crawler…     2  gpt-5-mini-2025-…  1.20k  1.20M  34.0k  $12.50  enforce\n"
            "idle                  0  –                      0      –      –       –  killed\n");
}

TEST_F(CliTest, Observe) {
  pipeline_.call([&] {
    model::Exchange x;
    x.id = 1;
    x.kind = model::Kind::kLlm;
    x.request_model = "gpt-5-mini";
    x.response_model = "gpt-5-mini-2025-08-07";
    x.subject.agent = "python3:agent.py";
    x.usage.input_tokens = 12345;
    x.usage.output_tokens = 67;
    x.usage_status = model::UsageStatus::kExact;
    x.cost = model::NanoUsd{31'200'000};
    x.status = 200;
    x.timing.start_real_ns = 1'700'000'000'000'000'000;
    x.timing.total_ns = 1'234'000'000;
    control_.streams.publish(x);
    x.id = 2;
    x.usage = {};
    x.cost.reset();
    x.status = 0;
    x.timing.total_ns.reset();
    x.verdict = {model::Action::kDeny, model::Mode::kEnforce, "team", "daily", "budget", 1};
    control_.streams.publish(x);
    x.id = 3;
    x.subject.agent = "evil\x1b[2J";
    x.verdict.mode = model::Mode::kObserve;
    control_.streams.publish(x);
  });
  serve();
  const auto table = run({"observe"});
  EXPECT_EQ(table.out,
            "TIME      AGENT           MODEL                 IN    OUT      COST    TOOK  VERDICT\n"
            "22:13:20  python3:agent…  gpt-5-mini-2025-…  12.3k     67   $0.0312    1.2s  allow\n"
            "22:13:20  python3:agent…  gpt-5-mini-2025-…      –      –         –       –  deny budget\n"
            "22:13:20  evil [2J        gpt-5-mini-2025-…      –      –         –       –  would deny budget\n");
  const auto lines = run({"observe", "-o", "jsonl", "--last", "1"});
  EXPECT_THAT(lines.out, StartsWith(R"({"id":3,"kind":"llm","request_model":"gpt-5-mini",)"));
  EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), 1);
  EXPECT_EQ(run({"observe", "-o", "jsonl", "model=other"}).out, "");
}

TEST_F(CliTest, TopFitsIntoEightyColumns) {
  control_.answers["GetTop"] = R"({"now_real_ns":"1700000000000000000","rows":[
    {"agent":"research/crawler-with-a-long-name/main","model":"gpt-5-mini-2025-08-07","mode":"enforce","totals":{"calls":1200,"cost_nano_usd":12500000000},
     "calls_1m":12,"tokens_1m":34000,"cost_1m_nano_usd":120000000,"budget_used_percent":83,"last_verdict":"allow"},
    {"agent":"b","mode":"observe","totals":{"calls":1},"calls_1m":0,"killed":true}],
    "totals":{"calls":1201,"in_flight":2,"held":1,"cost_nano_usd":12500000000},"losses":{"events_lost":5}})";
  serve();
  environment_["COLUMNS"] = "80";
  const auto done = run({"top"});  // no terminal: one frame
  EXPECT_EQ(done.exit_code, 0) << done.err;
  expect_width(done.out, 80);
  EXPECT_EQ(done.out,
            "22:13:20  1.20k calls, 2 in flight, 1 held, $12.50\n"
            "lost: 5 events\n"
            "AGENT         MODEL        CALL/M  TOK/M    $/MIN  CALLS    COST  BUDGET  LAST\n"
            "research/cr…  gpt-5-mini…      12  34.0k  $0.1200  1.20k  $12.50     83%  allow\n"
            "b             –                 0      0    $0.00      1       –       –  killed\n");
  EXPECT_THAT(control_.calls.back().second, HasSubstr("\"by\":\"agent\""));
}

TEST_F(CliTest, Budgets) {
  control_.answers["ListBudgets"] = control_.answers["SetBudget"] = control_.answers["ResetBudget"] = R"({"budgets":[
    {"name":"daily","policy":"team","key":"agent=crawler","nano_usd":{"limit":25000000000,"spent":20000000000,"reserved":1000000000,"remaining":4000000000},"window":"1d","on_breach":"hold","state":"soft"},
    {"name":"calls","policy":"team","requests":{"limit":10,"spent":12,"reserved":0,"remaining":-2},"state":"breached"}]})";
  serve();
  EXPECT_EQ(run({"budget", "list"}).out,
            "BUDGET      KEY             LIMIT   SPENT  HELD BACK    LEFT  USED  RESETS\n"
            "team/daily  agent=crawler  $25.00  $20.00      $1.00   $4.00   84%  –\n"
            "team/calls  all            10 req  12 req      0 req  -2 req  120%  never\n");
  EXPECT_EQ(
      run({"budget", "set", "team/daily", "--usd", "$50", "--key", "agent=crawler", "--reason", "more"}).exit_code, 0);
  EXPECT_EQ(control_.calls.back().second,
            R"({"name":"daily","policy":"team","key":"agent=crawler","limit_nano_usd":50000000000,"reason":"more"})");
  EXPECT_EQ(run({"budget", "reset", "calls"}).exit_code, 0);
  EXPECT_EQ(control_.calls.back().second, R"({"name":"calls"})");
}

TEST_F(CliTest, KillAndRelease) {
  control_.answers["Kill"] = R"({"connections_destroyed":"3","held_refused":"1","scopes":1,"processes":2})";
  control_.answers["Release"] = R"({"kills_lifted":1})";
  control_.answers["ListKills"] =
      R"({"kills":[{"selector":{"agent":"a b"},"reason":"loops","since_real_ns":"1700000000000000000","by":"root"}]})";
  serve();
  EXPECT_EQ(run({"kill", "agent=a b", "--reason", "loops", "--freeze"}).out,
            "killed agent=a b: 3 connections ended, 1 held requests refused, 1 scopes, 2 processes\nundo with: "
            "penstock release agent=a b\n");
  EXPECT_EQ(control_.calls.back().second,
            R"({"selector":{"agent":"a b"},"reason":"loops","freeze":true,"sigkill":false})");
  EXPECT_EQ(run({"kill", "--list"}).out,
            "SELECTOR   SINCE     BY    FROZEN  REASON\n"
            "agent=a b  22:13:20  root  no      loops\n");
  EXPECT_EQ(run({"release", "all", "-o", "jsonl"}).out, "{\"kills_lifted\":1,\"held_released\":0}\n");
}

TEST_F(CliTest, Policies) {
  control_.answers["CheckPolicy"] =
      R"({"valid":false,"diagnostics":[{"severity":"error","file":"stdin","line":3,"column":5,"message":"unknown key"}]})";
  control_.answers["ApplyPolicy"] =
      R"({"valid":true,"applied":true,"policies":[{"name":"team","mode":"enforce","match":"namespace=research","budgets":2,"rules":1,"file":"stdin","change":"added"}]})";
  serve();
  const auto bad = run({"policy", "check", "-"}, "kind: Policy\n");
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_EQ(bad.err, "stdin:3:5: error: unknown key\n");
  EXPECT_EQ(control_.calls.back().second, R"({"source":"kind: Policy\n","file":"stdin"})");
  EXPECT_EQ(run({"policy", "apply", "-"}, "kind: Policy\n").out,
            "POLICY  MODE     MATCH               BUDGETS  RULES  AGENTS  FILE\n"
            "team    enforce  namespace=research        2      1       –  stdin  added\n");
}

TEST_F(CliTest, CoverageAndHeldAndPrices) {
  control_.answers["ListCoverage"] =
      R"({"rows":[{"pid":5,"exe":"/usr/bin/python3","target":"api.openai.com","runtime":"openssl","state":"covered",
      "plaintext_bytes":"12345"},{"pid":6,"exe":"/opt/x","target":"192.0.2.1:8443","state":"opaque","opaque_bytes":"99",
      "estimated_opaque_tokens":"24","reason":"unknown_tls","hint":"use another one"}]})";
  control_.answers["ListHeld"] =
      R"({"held":[{"exchange":"4711","agent":"crawler","model":"gpt-5","reason":"budget","policy":"team","rule":"daily","estimated_nano_usd":"31200000"}]})";
  control_.answers["ListPrices"] =
      R"({"prices":[{"provider":"openai","model":"gpt-5-mini","input_nano_usd_per_million":"250000000","output_nano_usd_per_million":"2000000000"}]})";
  serve();
  const auto coverage = run({"coverage"});
  EXPECT_EQ(coverage.out,
            "PID  EXE               TARGET          RUNTIME  STATE     SEEN  UNSEEN  ~TOKENS  SINCE  REASON\n"
            "  5  /usr/bin/python3  api.openai.com  openssl  covered  12.3k       0           –\n"
            "  6  /opt/x            192.0.2.1:8443  –        opaque       0      99       24  –      unknown_tls\n");
  EXPECT_THAT(coverage.err, HasSubstr("unknown_tls: use another one"));
  EXPECT_EQ(run({"coverage", "--gaps", "-o", "jsonl"}).out.find("python3"), std::string::npos);
  EXPECT_THAT(run({"held"}).out, HasSubstr("4711  crawler  gpt-5   $0.0312"));
  EXPECT_EQ(run({"prices", "gpt-5-mini"}).out,
            "PROVIDER  MODEL       INPUT  OUTPUT  CACHE READ  CACHE WRITE\n"
            "openai    gpt-5-mini  $0.25   $2.00           –            –\n");
  control_.answers["ListPrices"] = "{}";
  EXPECT_EQ(run({"prices", "unheard-of"}).exit_code, 6);
}

TEST_F(CliTest, CompletionScriptsParse) {
  const std::string script = folder_ + "/completion";
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const auto done = run({"completion", shell});
    EXPECT_EQ(done.exit_code, 0);
    EXPECT_THAT(done.out, HasSubstr("budget"));
  }
  std::ofstream(script) << run({"completion", "bash"}).out
                        << "COMP_WORDS=(penstock budget s); COMP_CWORD=2; _penstock; echo \"${COMPREPLY[*]}\"\n"
                           "COMP_WORDS=(penstock run --max); COMP_CWORD=2; _penstock; echo \"${COMPREPLY[*]}\"\n";
  const auto done = run_binary("/bin/bash", {script}, {});
  EXPECT_EQ(done.out, "set\n--max-usd --max-tokens --max-requests\n") << done.err;
}

TEST_F(CliTest, TheManualNamesEveryCommandAndOption) {
  std::ostringstream manual;
  manual << std::ifstream(PENSTOCK_CLI_DOC).rdbuf();
  std::istringstream script(run({"completion", "fish"}).out);
  int checked = 0;
  for (std::string line; std::getline(script, line);) {
    std::istringstream in(line);
    for (std::string word; in >> word;) {
      if (word != "-a" && word != "-l") continue;
      const std::string kind = word;
      in >> word;
      if (word == "help") break;
      EXPECT_THAT(manual.str(), HasSubstr(kind == "-l" ? "--" + word : word));
      ++checked;
      break;
    }
  }
  EXPECT_GT(checked, 50);
}

}  // namespace
}  // namespace penstock::cli::testing
