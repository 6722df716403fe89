#include "cli/run_child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

namespace penstock::cli {
namespace {

using base::Error;
using base::Fd;

enum class Step : int { kCgroup, kAccount, kExecute };
struct Report {
  Step step;
  int error;
};

bool is_directory(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

Error not_found(const std::string& name) {
  return Error{kCommandNotFound, 0, name + ": command not found",
               "check the spelling and PATH; write `penstock run -- CMD ARGS…`"};
}

bool become(const Account& account) {
  if (::initgroups(account.name.c_str(), account.gid) != 0 || ::setgid(account.gid) != 0 || ::setuid(account.uid) != 0)
    return false;
  ::setenv("HOME", account.home.c_str(), 1);
  ::setenv("USER", account.name.c_str(), 1);
  ::setenv("LOGNAME", account.name.c_str(), 1);
  ::setenv("SHELL", account.shell.c_str(), 1);
  return true;
}

bool enter(const std::string& cgroup) {
  const Fd procs(::open((cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  return procs && ::write(procs.get(), "0", 1) == 1;  // 0 is whoever writes
}

// The child's half. Nothing of the command runs before the cgroup is entered: not one byte of it escapes the run.
[[noreturn]] void child_main(const std::vector<std::string>& command, const std::string& path, const Account* account,
                             int go, int report) {
  std::string cgroup;
  char buffer[512];
  ssize_t n;
  while ((n = ::read(go, buffer, sizeof buffer)) > 0) cgroup.append(buffer, static_cast<std::size_t>(n));
  if (cgroup.empty()) ::_exit(0);  // the parent gave up
  cgroup.erase(0, 1);
  const auto fail = [&](Step step) {
    const Report failure{step, errno};
    [[maybe_unused]] const ssize_t written = ::write(report, &failure, sizeof failure);
    ::_exit(static_cast<int>(kCommandNotFound));
  };
  if (!cgroup.empty() && !enter(cgroup)) fail(Step::kCgroup);
  if (account != nullptr && !become(*account)) fail(Step::kAccount);
  ::signal(SIGTTOU, SIG_DFL);  // ignored while we share the terminal
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<char*> argv;
  for (const auto& arg : command) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  ::execv(path.c_str(), argv.data());
  if (errno == ENOEXEC) {  // a script without "#!": /bin/sh, as execvp does
    argv.insert(argv.begin(), const_cast<char*>("/bin/sh"));
    argv[1] = const_cast<char*>(path.c_str());
    ::execv("/bin/sh", argv.data());
  }
  fail(Step::kExecute);
  ::_exit(static_cast<int>(kCommandNotFound));
}

}  // namespace

base::Result<std::string> find_command(const std::string& name) {
  if (name.empty()) return not_found("\"\"");
  const auto refuse = [&](const std::string& path) {
    return Error{kNotExecutable, 0, path + (is_directory(path) ? " is a directory" : " is not executable"),
                 is_directory(path) ? "name a file" : "chmod +x " + path + ", or run it with its interpreter"};
  };
  if (name.find('/') != std::string::npos) {
    if (::access(name.c_str(), F_OK) != 0) return not_found(name);
    if (is_directory(name) || ::access(name.c_str(), X_OK) != 0) return refuse(name);
    return name;
  }
  const char* variable = std::getenv("PATH");
  std::string_view rest = variable != nullptr ? variable : "/usr/local/bin:/usr/bin:/bin";
  std::string forbidden;
  while (true) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    const std::string folder(rest.substr(0, end));
    const std::string path = (folder.empty() ? "." : folder) + "/" + name;
    if (!is_directory(path) && ::access(path.c_str(), X_OK) == 0) return path;
    if (!is_directory(path) && ::access(path.c_str(), F_OK) == 0) forbidden = path;
    if (end == rest.size()) break;
    rest.remove_prefix(end + 1);
  }
  if (!forbidden.empty()) return refuse(forbidden);
  return not_found(name);
}

std::string interpreter_of(const std::string& path) {
  constexpr int kNesting = 4;  // as many as the kernel follows
  std::string program = path;
  for (int depth = 0; depth < kNesting; ++depth) {
    const base::Fd file(::open(program.c_str(), O_RDONLY | O_CLOEXEC));
    char head[256];
    const ssize_t n = file ? ::read(file.get(), head, sizeof head) : 0;
    std::string_view line(head, n > 0 ? static_cast<std::size_t>(n) : 0);
    if (!line.starts_with("#!")) break;
    line = line.substr(2, line.find('\n') - 2);
    const auto word = [&line] {
      line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
      const std::string_view out = line.substr(0, line.find_first_of(" \t\r"));
      line.remove_prefix(out.size());
      return std::string(out);
    };
    program = word();
    if (!program.ends_with("/env")) continue;
    std::string name = word();
    while (name.starts_with('-')) name = word();
    auto found = find_command(name);
    if (!found) break;
    program = *std::move(found);
  }
  char absolute[PATH_MAX];
  return ::realpath(program.c_str(), absolute) != nullptr ? absolute : program;
}

base::Result<Account> find_account(const std::string& name) {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(1u << 16);
  if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return Error{base::ErrorCode::kNotFound, 0, fmt::format("no user \"{}\"", name), "`getent passwd` lists them"};
  return Account{entry.pw_name, entry.pw_dir, entry.pw_shell, entry.pw_uid, entry.pw_gid};
}

base::Result<Child> Child::fork_waiting(std::vector<std::string> command, std::string path, const Account* account,
                                        bool job) {
  int go[2], report[2];
  if (::pipe2(go, O_CLOEXEC) != 0) return base::errno_error(errno, "pipe");
  Fd go_read(go[0]), go_write(go[1]);
  if (::pipe2(report, O_CLOEXEC) != 0) return base::errno_error(errno, "pipe");
  Fd report_read(report[0]), report_write(report[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return base::errno_error(errno, "fork");
  if (pid == 0) {
    if (job) ::setpgid(0, 0);
    go_write.reset();
    report_read.reset();
    child_main(command, path, account, go_read.get(), report_write.get());
  }
  if (job) ::setpgid(pid, pid);  // whoever is first
  return Child(pid, std::move(go_write), std::move(report_read), command.front());
}

Child::Child(pid_t pid, Fd go, Fd report, std::string name)
    : pid_(pid), go_(std::move(go)), report_(std::move(report)), name_(std::move(name)) {}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      go_(std::move(other.go_)),
      report_(std::move(other.report_)),
      name_(std::move(other.name_)) {}

Child::~Child() {
  if (pid_ == 0 || !go_) return;
  go_.reset();
  ::waitpid(pid_, nullptr, 0);
}

base::Result<> Child::start(const std::string& cgroup) {
  const std::string order = "g" + cgroup;
  if (::write(go_.get(), order.data(), order.size()) != static_cast<ssize_t>(order.size()))
    return base::errno_error(errno, "cannot start " + name_);
  go_.reset();
  Report failure{};
  ssize_t n;
  do {
    n = ::read(report_.get(), &failure, sizeof failure);
  } while (n < 0 && errno == EINTR);
  if (n == 0) return {};  // closed by a successful execve
  ::waitpid(pid_, nullptr, 0);
  if (n != sizeof failure) return Error{base::ErrorCode::kFailure, 0, "cannot start " + name_, {}};
  Error e = base::errno_error(failure.error, "");
  switch (failure.step) {
    case Step::kCgroup:
      e.what = "cannot enter the run's cgroup " + cgroup;
      e.hint = "run as root, or ask a daemon that runs as root";
      if (failure.error == EACCES || failure.error == EPERM) e.code = base::ErrorCode::kPrivilege;
      break;
    case Step::kAccount:
      e.what = "cannot become the user given with --user";
      e.hint = "only root can";
      e.code = base::ErrorCode::kPrivilege;
      break;
    case Step::kExecute:
      e.what = "cannot execute " + name_;
      e.code = failure.error == ENOENT ? kCommandNotFound : kNotExecutable;
      e.hint = failure.error == ENOENT ? "its interpreter (the #! line) does not exist" : "";
      break;
  }
  return e;
}

}  // namespace penstock::cli
