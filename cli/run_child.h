// The command of `penstock run`: found, forked, put into its cgroup, and only then executed. One thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"

namespace penstock::cli {

// Exit codes of shells for a command that cannot be run.
inline constexpr auto kNotExecutable = static_cast<base::ErrorCode>(126);
inline constexpr auto kCommandNotFound = static_cast<base::ErrorCode>(127);

// The file that would be executed, as execvp(3) finds it.
base::Result<std::string> find_command(const std::string& name);
// The absolute path of the program that really runs: of a script, what its first line names (through env, too).
std::string interpreter_of(const std::string& path);

struct Account {
  std::string name, home, shell;
  uid_t uid = 0;
  gid_t gid = 0;
};
base::Result<Account> find_account(const std::string& name);

class Child {
 public:
  // Forks; the child waits for start(). `job`: it becomes the leader of a process group of its own.
  static base::Result<Child> fork_waiting(std::vector<std::string> command, std::string path, const Account* account,
                                          bool job);
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  // A child that was never started ends; a started one is left alone.
  ~Child();

  pid_t pid() const { return pid_; }
  // Lets it enter `cgroup` (empty: it is there already), become `account` and execute. Returns once it has.
  base::Result<> start(const std::string& cgroup);

 private:
  Child(pid_t pid, base::Fd go, base::Fd report, std::string name);
  pid_t pid_;
  base::Fd go_, report_;
  std::string name_;
};

}  // namespace penstock::cli
