// penstock run: a command in a scope of its own, with limits; the laptop's main job.
//
// Order of events, so that nothing of the command escapes and nothing is left half-made:
//   find the command · find or start a daemon · fork a child that waits · create the run (the daemon moves the child,
//   or the child moves itself) · execute · watch · finish the run · summary.
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "cli/app.h"
#include "cli/daemon_process.h"
#include "cli/output.h"
#include "cli/policy_file.h"
#include "cli/run_child.h"
#include "cli/run_meter.h"
#include "cli/run_summary.h"
#include "userspace/api/message_json.h"

namespace penstock::cli {
namespace {

using base::Fd;

constexpr int kMeterIntervalMs = 500;
constexpr long kMeterTimeoutMs = 1000;
constexpr int kProbeWaitMs = 20;
constexpr int kProbeWaits = 150;

struct Options {
  std::string max_usd, max_tokens, max_requests, mode, policy, name, user, summary = "text";
  bool no_meter = false;
  std::vector<std::string> command;
};

base::Result<api::CreateRunRequest> request_of(const Options& o) {
  api::CreateRunRequest request;
  for (const auto& word : o.command) request.add_command(word);
  if (!o.name.empty()) request.set_name(o.name);
  if (!o.mode.empty()) request.set_mode(o.mode);
  if (!o.max_usd.empty()) {
    PN_TRY(const auto amount, parse_money(o.max_usd));
    request.set_max_nano_usd(amount.value);
  }
  if (!o.max_tokens.empty()) {
    PN_TRY(const auto n, parse_number(o.max_tokens));
    request.set_max_tokens(n);
  }
  if (!o.max_requests.empty()) {
    PN_TRY(const auto n, parse_number(o.max_requests));
    request.set_max_requests(n);
  }
  if (!o.policy.empty()) {
    PN_TRY(*request.mutable_policy(), read_file(o.policy));
    request.set_policy_file(o.policy == "-" ? "stdin" : o.policy);
  }
  return request;
}

// Job control: the command gets the terminal, as a shell would give it; we take it back at the end and when it stops.
class Foreground {
 public:
  Foreground() : job_(::isatty(STDIN_FILENO) != 0 && ::tcgetpgrp(STDIN_FILENO) == ::getpgrp()) {
    if (job_) ::signal(SIGTTOU, SIG_IGN);  // we write to the terminal from the background
  }
  ~Foreground() { take(); }
  Foreground(const Foreground&) = delete;
  Foreground& operator=(const Foreground&) = delete;
  bool job() const { return job_; }
  void give(pid_t group) {
    if (job_) ::tcsetpgrp(STDIN_FILENO, group);
  }
  void take() { give(::getpgrp()); }

 private:
  const bool job_;
};

class Signals {
 public:
  Signals() {
    ::sigemptyset(&set_);
    for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH})
      ::sigaddset(&set_, signal);
    ::sigprocmask(SIG_BLOCK, &set_, &before_);
    fd_ = Fd(::signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  ~Signals() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  int fd() const { return fd_.get(); }

 private:
  sigset_t set_{}, before_{};
  Fd fd_;
};

class Watch {
 public:
  Watch(const Signals& signals, Foreground& foreground, Meter& meter, EmbeddedDaemon* daemon, std::string socket,
        std::string run, pid_t child)
      : signals_(signals),
        foreground_(foreground),
        meter_(meter),
        daemon_(daemon),
        client_(std::move(socket), kMeterTimeoutMs),
        run_(std::move(run)),
        child_(child) {}

  // Until the command ends; its exit code as shells give it.
  int wait() {
    reap();  // it may have ended before the signals were watched
    while (!exit_code_) {
      pollfd p{signals_.fd(), POLLIN, 0};
      const int n = ::poll(&p, 1, meter_.wanted() ? kMeterIntervalMs : -1);
      if (n > 0)
        read_signals();
      else if (n == 0 && !exit_code_)
        tick();
    }
    meter_.hide();
    return *exit_code_;
  }

 private:
  void read_signals() {
    signalfd_siginfo info{};
    while (::read(signals_.fd(), &info, sizeof info) == sizeof info) {
      switch (info.ssi_signo) {
        case SIGCHLD:
          reap();
          break;
        case SIGWINCH:
          meter_.resized();
          break;
        default:
          // From the terminal it has reached the command already: we share its process group, or the terminal is its
          // own.
          if (info.ssi_code != SI_KERNEL) ::kill(child_, static_cast<int>(info.ssi_signo));
      }
    }
  }

  void reap() {
    int status = 0;
    while (!exit_code_ && ::waitpid(child_, &status, WNOHANG | WUNTRACED) == child_) {
      if (WIFEXITED(status))
        exit_code_ = WEXITSTATUS(status);
      else if (WIFSIGNALED(status))
        exit_code_ = 128 + WTERMSIG(status);
      else if (WIFSTOPPED(status) && foreground_.job())
        stopped();
    }
    if (daemon_ != nullptr && !daemon_gone_ && !exit_code_ && !daemon_->alive()) {
      daemon_gone_ = true;
      daemon_->keep_log();
      print_note("penstockd ended while the command runs; held requests follow on_failure; its log is in " +
                 daemon_->log());
    }
  }

  // Ctrl-Z: we stop with the command, so that the shell above sees it, and go on with it.
  void stopped() {
    meter_.hide();
    foreground_.take();
    ::kill(::getpid(), SIGSTOP);
    foreground_.give(child_);
    ::kill(-child_, SIGCONT);
  }

  void tick() {
    api::GetRunRequest request;
    request.set_run(run_);
    if (const auto state = client_.call<api::RunSummary>(request)) meter_.draw(*state);
  }

  const Signals& signals_;
  Foreground& foreground_;
  Meter& meter_;
  EmbeddedDaemon* daemon_;
  api::Client client_;
  std::string run_;
  pid_t child_;
  bool daemon_gone_ = false;
  std::optional<int> exit_code_;
};

void print_summary(const Options& o, const base::Result<api::RunSummary>& summary, int exit_code) {
  if (o.summary == "none") return;
  if (!summary) {
    print_note("no summary: " + summary.error().message());
    return;
  }
  const std::string text =
      o.summary == "json" ? api::to_json(*summary) + "\n" : summary_text(*summary, exit_code, color_on(STDERR_FILENO));
  std::fputs(text.c_str(), stderr);
}

// A program seen for the first time is examined first, so that not even its first request goes unseen. Bounded: a
// program that cannot be examined runs all the same, and `coverage` says what was missed.
void wait_for_probes(api::Client& client) {
  for (int i = 0; i < kProbeWaits; ++i) {
    const auto status = client.call<api::Status>(api::GetStatusRequest());
    if (!status || status->pending_images() == 0) return;
    ::poll(nullptr, 0, kProbeWaitMs);
  }
}

base::Result<int> run(const Context& context, const Options& o) {
  if (o.command.empty())
    return base::Error{base::ErrorCode::kUsage, 0, "which command?", "penstock run --max-usd 2 -- python agent.py"};
  PN_TRY(auto request, request_of(o));
  PN_TRY(const std::string path, find_command(o.command.front()));
  std::optional<Account> account;
  if (!o.user.empty()) {
    PN_TRY(account, find_account(o.user));
  }

  std::unique_ptr<EmbeddedDaemon> daemon;
  api::Client client(context.socket);
  if (auto answer = client.call<api::Status>(api::GetStatusRequest()); !answer) {
    if (answer.error().code != base::ErrorCode::kUnavailable) return answer.error();
    PN_TRY(daemon, EmbeddedDaemon::start(context.socket));
  }

  const Signals signals;
  Foreground foreground;
  PN_TRY(Child child, Child::fork_waiting(o.command, path, account ? &*account : nullptr, foreground.job()));
  request.set_pid(static_cast<std::uint32_t>(child.pid()));
  request.set_executable(interpreter_of(path));
  PN_TRY(const auto created, client.call<api::CreateRunResponse>(request));
  api::FinishRunRequest finish;
  finish.set_run(created.run());
  wait_for_probes(client);

  foreground.give(child.pid());
  if (auto started = child.start(created.attached() ? "" : created.cgroup()); !started) {
    foreground.take();
    finish.set_exit_code(static_cast<int>(started.error().code));
    [[maybe_unused]] const auto ended = client.call<api::RunSummary>(finish);
    return started.error();
  }
  Meter meter(!o.no_meter);
  const int exit_code =
      Watch(signals, foreground, meter, daemon.get(), context.socket, created.run(), child.pid()).wait();
  foreground.take();
  finish.set_exit_code(exit_code);
  print_summary(o, client.call<api::RunSummary>(finish), exit_code);
  return exit_code;
}

}  // namespace

void add_run(CLI::App& app, Context& context) {
  auto* sub =
      command(app, "run", "run a command in a scope of its own, with limits: penstock run [OPTIONS] -- CMD [ARGS…]",
              "  penstock run --max-usd 2 -- python agent.py\n"
              "  penstock run --max-tokens 200k --mode strict -- node agent.mjs\n"
              "  penstock run --policy team.yaml --name crawler -- ./crawl.sh\n"
              "  sudo penstock run --max-usd 1 --user \"$USER\" -- claude\n"
              "Starts a daemon for the time of the run where none answers. Ends with a summary on standard\n"
              "error and passes the exit code of the command (128+N after signal N, 127 not found, 126 not\n"
              "executable).");
  socket_option(*sub, context);
  auto o = std::make_shared<Options>();
  sub->add_option("--max-usd", o->max_usd, "spend at most this many US dollars")->type_name("X");
  sub->add_option("--max-tokens", o->max_tokens, "use at most this many tokens (200k, 2M)")->type_name("N");
  sub->add_option("--max-requests", o->max_requests, "make at most this many requests")->type_name("N");
  sub->add_option("--mode", o->mode, "observe, enforce, or strict (fail closed; limits are never passed)")
      ->check(CLI::IsMember({"observe", "enforce", "strict"}))
      ->type_name("MODE");
  sub->add_option("--policy", o->policy, "policies for this run only")->type_name("FILE");
  sub->add_option("--name", o->name, "name of the agent (default: from the command)")->type_name("AGENT");
  sub->add_option("--user", o->user, "run the command as this user (needs root)")->type_name("USER");
  sub->add_option("--summary", o->summary, "text, json or none")
      ->check(CLI::IsMember({"text", "json", "none"}))
      ->type_name("HOW");
  sub->add_flag("--no-meter", o->no_meter, "no live line on the terminal");
  sub->prefix_command();  // the first word that is no option begins the command, with or without --
  sub->callback([&context, o, sub] {
    o->command = sub->remaining();
    context.run = [&context, o] { return run(context, *o); };
  });
}

}  // namespace penstock::cli
