// `penstock run` as people meet it: exit codes, the cgroup, signals, the embedded daemon, the summary.
#include <pty.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli/testing/harness.h"
#include "userspace/base/fd.h"

namespace penstock::cli::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class RunTest : public CliTest {
 protected:
  RunTest() {
    cgroup_ = folder_ + "/cgroup";
    std::filesystem::create_directory(cgroup_);
    std::ofstream(cgroup_ + "/cgroup.procs").flush();
    control_.answers["CreateRun"] = R"({"run":"sh/7-9","agent":"sh","cgroup":")" + cgroup_ + R"(","mode":"enforce"})";
    control_.answers["FinishRun"] =
        R"({"run":"sh/7-9","agent":"sh","state":"finished","started_real_ns":1,"ended_real_ns":12300000001,
      "totals":{"calls":14,"errors":1,"input_tokens":12345,"output_tokens":2345,"cache_read_tokens":8192,"cost_nano_usd":31200000,"tool_calls":3},
      "models":[{"provider":"openai","model":"gpt-5-mini-2025-08-07","totals":{"calls":14,"input_tokens":12345,"output_tokens":2345,"cost_nano_usd":31200000}}],
      "verdicts":{"allow":13,"deny":1},"last_refusal":"budget max-usd","budgets":[{"name":"max-usd","nano_usd":{"limit":2000000000}}],
      "coverage":[{"pid":5,"exe":"/bin/sh","state":"covered"}],"losses":{"events_lost":3}})";
  }
  // As installed: penstock and penstockd side by side.
  std::string installed() {
    const std::string binary = folder_ + "/penstock";
    if (!std::filesystem::exists(binary)) {
      std::filesystem::copy_file(PENSTOCK_BINARY, binary);
      std::filesystem::copy_file(FAKE_PENSTOCKD, folder_ + "/penstockd");
    }
    return binary;
  }
  std::string cgroup_;
};

TEST_F(RunTest, PassesTheExitCodeAndEntersTheCgroupFirst) {
  serve();
  const auto done = run(
      {"run", "--max-usd", "2", "--max-tokens", "200k", "--", "sh", "-c", "cat " + cgroup_ + "/cgroup.procs; exit 7"});
  EXPECT_EQ(done.exit_code, 7) << done.err;
  EXPECT_EQ(done.out, "0");              // written before the command ran
  ASSERT_EQ(control_.calls.size(), 4u);  // the third asks whether the program has been examined
  EXPECT_THAT(control_.calls[1].second, HasSubstr(R"("max_nano_usd":2000000000,"max_tokens":200000)"));
  EXPECT_THAT(control_.calls[1].second, HasSubstr("\"pid\":"));
  EXPECT_EQ(control_.calls[3].second, R"({"run":"sh/7-9","exit_code":7})");
}

TEST_F(RunTest, EndsWithASummary) {
  serve();
  const auto done = run({"run", "--", "true"});
  EXPECT_EQ(done.exit_code, 0);
  EXPECT_EQ(done.out, "");
  EXPECT_EQ(done.err,
            "penstock: run sh/7-9 of sh ended after 12.3 s with exit code 0\n"
            "  calls     14, 1 of them errors, 3 tool calls\n"
            "  tokens    12,345 in (8,192 cached), 2,345 out\n"
            "  cost      $0.0312 of $2.00 (max-usd)\n"
            "  models    gpt-5-mini-2025-08-07  14 calls, 12.3k in, 2.34k out, $0.0312\n"
            "  verdicts  13 allow, 1 deny (budget max-usd)\n"
            "  coverage  complete\n"
            "  lost      3 events\n");
  EXPECT_THAT(run({"run", "--summary", "json", "--", "true"}).err, StartsWith("{\"run\":\"sh/7-9\""));
  EXPECT_EQ(run({"run", "--summary", "none", "--", "true"}).err, "");
}

TEST_F(RunTest, OptionsOfTheCommandAreItsOwn) {
  serve();
  const auto done = run({"run", "--summary", "none", "sh", "-c", "echo \"$@\"", "sh", "--max-usd", "--", "-o", "top"});
  EXPECT_EQ(done.out, "--max-usd -- -o top\n") << done.err;
}

TEST_F(RunTest, ACommandMayBeNamedLikeASubcommand) {
  serve();
  const std::string script = folder_ + "/status";
  std::ofstream(script) << "#!/bin/sh\necho mine \"$@\"\n";
  ::chmod(script.c_str(), 0700);
  environment_["PATH"] = folder_ + ":/usr/bin:/bin";
  for (const std::vector<std::string>& args :
       {std::vector<std::string>{"run", "--summary=none", "--", "status", "--", "x"},
        {"run", "--no-meter", "--summary", "none", "status", "--", "x"}})
    EXPECT_EQ(run(args).out, "mine -- x\n");
}

TEST_F(RunTest, ReportsACommandKilledByASignal) {
  serve();
  EXPECT_EQ(run({"run", "--summary", "none", "--", "sh", "-c", "kill -TERM $$"}).exit_code, 128 + SIGTERM);
}

TEST_F(RunTest, ForwardsSignals) {
  serve();
  const auto done = run({"run", "--summary", "none", "--", "sh", "-c",
                         "trap 'echo got it; exit 3' TERM; kill -TERM $PPID; while :; do :; done"});
  EXPECT_EQ(done.exit_code, 3);
  EXPECT_EQ(done.out, "got it\n");
}

// The command reads from the terminal, so it must be in the foreground; the live line must come and go.
TEST_F(RunTest, GivesTheTerminalToTheCommandAndShowsTheMeter) {
  control_.answers["GetRun"] =
      R"({"run":"sh/7-9","totals":{"calls":3,"cost_nano_usd":31200000},"budgets":[{"nano_usd":{"limit":2000000000}}]})";
  serve();
  winsize size{};
  size.ws_row = 24;
  size.ws_col = 80;
  int terminal = -1;
  const pid_t pid = ::forkpty(&terminal, nullptr, nullptr, &size);
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    for (const auto& [name, value] : environment_) ::setenv(name.c_str(), value.c_str(), 1);
    ::setenv("TERM", "xterm", 1);
    ::unsetenv("COLUMNS");
    ::execl(PENSTOCK_BINARY, "penstock", "run", "--", "sh", "-c", "read line; echo \"got $line\"; exit 4", nullptr);
    ::_exit(99);
  }
  const base::Fd owned(terminal);
  std::string screen;
  const auto read_until = [&](std::string_view text) {
    char buffer[4096];
    while (screen.find(text) == std::string::npos) {
      const ssize_t n = ::read(terminal, buffer, sizeof buffer);
      if (n <= 0) return;  // EIO: the last user of the terminal has left
      screen.append(buffer, static_cast<std::size_t>(n));
    }
  };
  read_until("3 calls");
  ASSERT_EQ(::write(terminal, "hello\n", 6), 6);
  read_until("lost");
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 4) << screen;
  EXPECT_THAT(screen, HasSubstr("\x1b[1;23r"));
  EXPECT_THAT(screen, HasSubstr("$0.0312 of $2.00"));
  EXPECT_THAT(screen, HasSubstr("got hello"));
  EXPECT_GT(screen.rfind("\x1b[r"), screen.rfind("3 calls"));  // the region is given back at the end
}

TEST_F(RunTest, SaysWhichCommandIsMissing) {
  const auto missing = run({"run", "--", "no-such-command-here"});
  EXPECT_EQ(missing.exit_code, 127);
  EXPECT_EQ(missing.err,
            "penstock: no-such-command-here: command not found\nhint: check the spelling and PATH; write `penstock run "
            "-- CMD ARGS…`\n");
  const auto folder = run({"run", "--", folder_});
  EXPECT_EQ(folder.exit_code, 126);
  EXPECT_THAT(folder.err, HasSubstr("is a directory"));
  const std::string plain = folder_ + "/plain";
  std::ofstream(plain) << "text";
  const auto refused = run({"run", "--", plain});
  EXPECT_EQ(refused.exit_code, 126);
  EXPECT_THAT(refused.err, HasSubstr("is not executable"));
  EXPECT_TRUE(control_.calls.empty());
}

TEST_F(RunTest, AMissingInterpreterIsNotFoundAndTheRunIsFinished) {
  serve();
  const std::string script = folder_ + "/script";
  std::ofstream(script) << "#!/no/such/interpreter\n";
  ::chmod(script.c_str(), 0700);
  const auto done = run({"run", "--", script});
  EXPECT_EQ(done.exit_code, 127);
  EXPECT_THAT(done.err, HasSubstr("its interpreter"));
  EXPECT_EQ(control_.calls.back().second, R"({"run":"sh/7-9","exit_code":127})");
}

TEST_F(RunTest, ACgroupThatCannotBeEnteredStopsTheCommand) {
  std::filesystem::remove(cgroup_ + "/cgroup.procs");
  serve();
  const auto done = run({"run", "--", "sh", "-c", "echo escaped"});
  EXPECT_EQ(done.exit_code, 1);
  EXPECT_EQ(done.out, "");
  EXPECT_THAT(done.err, HasSubstr("cannot enter the run's cgroup"));
}

TEST_F(RunTest, ARefusedRunLeavesNothing) {
  control_.errors["CreateRun"] =
      base::Error{base::ErrorCode::kUsage, 0, "team.yaml:3:5: unknown key \"budget\"", "did you mean \"budgets\"?"};
  serve();
  const auto done = run({"run", "--", "sh", "-c", "echo escaped"});
  EXPECT_EQ(done.exit_code, 2);
  EXPECT_EQ(done.out, "");
  EXPECT_EQ(done.err, "penstock: team.yaml:3:5: unknown key \"budget\"\nhint: did you mean \"budgets\"?\n");
}

TEST_F(RunTest, SendsThePolicyFile) {
  serve();
  const std::string file = folder_ + "/p.yaml";
  std::ofstream(file) << "kind: Policy\n";
  EXPECT_EQ(run({"run", "--policy", file, "--mode", "strict", "--name", "crawler", "--", "true"}).exit_code, 0);
  EXPECT_THAT(control_.calls[1].second,
              HasSubstr(R"("mode":"strict","policy":"kind: Policy\n","policy_file":")" + file));
  const auto missing = run({"run", "--policy", folder_ + "/none.yaml", "--", "true"});
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.err, HasSubstr("cannot be read"));
}

TEST_F(RunTest, StartsADaemonWhereNoneAnswers) {
  environment_["FAKE_PENSTOCKD"] = "serve";
  const auto done = run_binary(installed(), {"run", "--", "sh", "-c", "exit 5"}, environment_);
  EXPECT_EQ(done.exit_code, 5) << done.err;
  EXPECT_THAT(done.err, HasSubstr("run fake/1-1 of fake"));
  EXPECT_FALSE(std::filesystem::exists(socket_));  // it has ended
  for (const auto& entry : std::filesystem::directory_iterator(folder_))
    EXPECT_THAT(entry.path().filename().string(), Not(StartsWith("penstock-")));  // its log is gone
}

TEST_F(RunTest, ADaemonThatCannotStartSaysWhy) {
  environment_["FAKE_PENSTOCKD"] = "refuse";
  const auto done = run_binary(installed(), {"run", "--", "sh", "-c", "echo escaped"}, environment_);
  EXPECT_EQ(done.exit_code, 3);
  EXPECT_EQ(done.out, "");
  EXPECT_EQ(done.err, "penstock: not root: CAP_BPF is missing\nhint: run as root\n");
}

TEST_F(RunTest, NoDaemonAtAllIsOneLine) {
  const std::string binary = folder_ + "/alone";
  std::filesystem::copy_file(PENSTOCK_BINARY, binary);
  environment_["PATH"] = "/usr/bin:/bin";
  const auto done = run_binary(binary, {"run", "--", "true"}, environment_);
  EXPECT_EQ(done.exit_code, 5);
  EXPECT_THAT(done.err, StartsWith("penstock: no daemon answers, and no penstockd was found to start\nhint: "));
}

TEST_F(RunTest, DoctorAndPolicyCheckNeedNoDaemon) {
  const auto doctor = run_binary(installed(), {"doctor"}, environment_);
  EXPECT_EQ(doctor.exit_code, 4);
  EXPECT_EQ(doctor.out,
            "error    btf: no /sys/kernel/btf/vmlinux\n"
            "         costs: nothing is seen\n"
            "         fix:   boot a kernel with BTF\n"
            "\nobserve: no   enforce: no\n");
  const std::string file = folder_ + "/p.yaml";
  std::ofstream(file) << "kind: Policy\n";
  const auto check = run_binary(installed(), {"policy", "check", file}, environment_);
  EXPECT_EQ(check.exit_code, 2);
  EXPECT_EQ(check.err, file + ":3:5: error: unknown key \"budget\"; did you mean \"budgets\"?\n");
}

}  // namespace
}  // namespace penstock::cli::testing
