#include "cli/daemon_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

extern char** environ;

namespace penstock::cli {
namespace {

using base::Error;
using base::ErrorCode;
using base::Fd;
using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kStartDeadline{30};  // attaching probes on a busy machine takes a while
constexpr std::chrono::seconds kEndDeadline{10};
constexpr std::chrono::milliseconds kReadyPoll{20};

struct Spawned {
  pid_t pid = 0;
  Fd pidfd;
};

// stdin, stdout and stderr of the child are given; everything else is closed on exec. In a process group of its own, so
// that a Ctrl-C meant for the command does not end the daemon that guards it.
base::Result<Spawned> spawn(const std::string& binary, const std::vector<std::string>& args, int in, int out, int err) {
  std::vector<char*> argv{const_cast<char*>(binary.c_str())};
  for (const auto& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  sigset_t none;
  sigset_t defaults;
  ::sigemptyset(&none);
  ::sigfillset(&defaults);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  Spawned out_process;
  const int rc = ::posix_spawn(&out_process.pid, binary.c_str(), &actions, &attributes, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (rc != 0) return base::errno_error(rc, "cannot start " + binary);
  out_process.pidfd = Fd(static_cast<int>(::syscall(SYS_pidfd_open, out_process.pid, 0)));
  if (!out_process.pidfd) {
    const int failure = errno;
    ::kill(out_process.pid, SIGKILL);
    ::waitpid(out_process.pid, nullptr, 0);
    return base::errno_error(failure, "pidfd_open");
  }
  return out_process;
}

// The end of a log for people: its last line that is not empty, and a "hint: " line if there is one.
struct LogEnd {
  std::string what, hint;
};
LogEnd log_end(std::istream& in) {
  LogEnd out;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("hint: "))
      out.hint = line.substr(6);
    else if (!line.empty())
      out.what = line;
  }
  constexpr std::string_view kPrefix = "penstockd: ";
  if (out.what.starts_with(kPrefix)) out.what.erase(0, kPrefix.size());
  return out;
}

ErrorCode error_code(int status) {
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  return code >= 1 && code <= 6 ? static_cast<ErrorCode>(code) : ErrorCode::kFailure;
}

base::Result<std::string> temporary_file(const char* kind) {
  const char* folder = std::getenv("TMPDIR");
  std::string path = fmt::format("{}/penstock-{}-XXXXXX", folder != nullptr && *folder != '\0' ? folder : "/tmp", kind);
  const Fd fd(::mkostemp(path.data(), O_CLOEXEC));
  if (!fd) return base::errno_error(errno, "cannot create " + path);
  return path;
}

// Waits until the process ends or the deadline; its wait status if it ended.
std::optional<int> wait_for(pid_t pid, int pidfd, SteadyClock::duration patience) {
  pollfd p{pidfd, POLLIN, 0};
  const auto deadline = SteadyClock::now() + patience;
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now()).count();
    const int n = ::poll(&p, 1, static_cast<int>(std::max<long>(left, 0)));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return std::nullopt;
    int status = 0;
    return ::waitpid(pid, &status, 0) == pid ? std::optional(status) : std::optional(0);
  }
}

}  // namespace

base::Result<std::string> daemon_binary() {
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  if (const auto beside = self.parent_path() / "penstockd"; !self.empty() && ::access(beside.c_str(), X_OK) == 0)
    return beside.string();
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    const std::string candidate = std::string(rest.substr(0, end)) + "/penstockd";
    if (candidate.front() == '/' && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return Error{ErrorCode::kUnavailable, 0, "no daemon answers, and no penstockd was found to start",
               "install penstockd beside penstock, or name a running daemon's socket with --socket PATH"};
}

base::Result<std::string> daemon_output(const std::vector<std::string>& args, int* exit_code) {
  PN_TRY(const std::string binary, daemon_binary());
  PN_TRY(const std::string log, temporary_file("log"));
  const std::unique_ptr<const std::string, void (*)(const std::string*)> cleanup(
      &log, [](const std::string* p) { ::unlink(p->c_str()); });
  const Fd err(::open(log.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC)), null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return base::errno_error(errno, "pipe");
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  PN_TRY(const Spawned process, spawn(binary, args, null.get(), write_end.get(), err.get()));
  write_end.reset();
  std::string out;
  char buffer[16384];
  for (ssize_t n; (n = ::read(read_end.get(), buffer, sizeof buffer)) != 0;) {
    if (n < 0 && errno != EINTR) break;
    if (n > 0) out.append(buffer, static_cast<std::size_t>(n));
  }
  int status = 0;
  ::waitpid(process.pid, &status, 0);
  if (exit_code != nullptr) *exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  if (status == 0 || (exit_code != nullptr && !out.empty())) return out;
  std::ifstream in(log);
  LogEnd end = log_end(in);
  if (end.what.empty()) end.what = "penstockd ended without a message";
  return Error{error_code(status), 0, std::move(end.what), std::move(end.hint)};
}

base::Result<std::unique_ptr<EmbeddedDaemon>> EmbeddedDaemon::start(const std::string& socket) {
  PN_TRY(const std::string binary, daemon_binary());
  PN_TRY(const std::string log, temporary_file("run"));
  const Fd out(::open(log.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  int ends[2];
  if (!out || ::pipe2(ends, O_CLOEXEC) != 0) return base::errno_error(errno, "cannot start the daemon");
  const Fd life_end(ends[0]);
  Fd life(ends[1]);
  PN_TRY(Spawned process, spawn(binary, {"--ephemeral", "--socket", socket}, life_end.get(), out.get(), out.get()));
  std::unique_ptr<EmbeddedDaemon> daemon(
      new EmbeddedDaemon(process.pid, std::move(process.pidfd), std::move(life), log));

  api::Client client(socket, 2000);
  const auto deadline = SteadyClock::now() + kStartDeadline;
  while (true) {
    if (const auto ended = wait_for(daemon->pid_, daemon->pidfd_.get(), kReadyPoll)) {
      daemon->reaped_ = true;
      // Somebody else's daemon may have taken the socket in the meantime: that one will do.
      if (client.ready()) return daemon;
      std::ifstream in(log);
      LogEnd end = log_end(in);
      if (end.what.empty()) end.what = "penstockd ended at once, without a message";
      return Error{error_code(*ended), 0, std::move(end.what), std::move(end.hint)};
    }
    if (client.ready()) return daemon;
    if (SteadyClock::now() > deadline) {
      daemon->keep_log();
      return Error{ErrorCode::kUnavailable, 0, "penstockd was started but did not become ready",
                   "its log is in " + log};
    }
  }
}

EmbeddedDaemon::EmbeddedDaemon(pid_t pid, Fd pidfd, Fd life, std::string log)
    : pid_(pid), pidfd_(std::move(pidfd)), life_(std::move(life)), log_(std::move(log)) {}

bool EmbeddedDaemon::alive() {
  if (!reaped_ && wait_for(pid_, pidfd_.get(), {})) reaped_ = true;
  return !reaped_;
}

EmbeddedDaemon::~EmbeddedDaemon() {
  life_.reset();
  // Not ended by then: another run uses it, and it ends with that.
  if (!reaped_) wait_for(pid_, pidfd_.get(), kEndDeadline);
  if (!keep_log_) ::unlink(log_.c_str());
}

}  // namespace penstock::cli
