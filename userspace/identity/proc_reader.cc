#include "userspace/identity/proc_reader.h"

#include <dirent.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "userspace/base/atomic_file.h"
#include "userspace/identity/cgroup_path.h"

namespace penstock::identity {
namespace {

constexpr std::uint64_t kTickNs = 10'000'000;            // USER_HZ is 100 on x86-64, whatever the kernel's HZ
constexpr std::size_t kMaxProcFile = 8 << 20;            // a command line may be megabytes long
constexpr std::uint32_t kKernelThreadFlag = 0x00200000;  // PF_KTHREAD
constexpr std::size_t kMaxUsers = 1024;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

template <class T>
bool number(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

std::string read_link(const std::string& path) {
  char target[4096];
  const ssize_t n = readlink(path.c_str(), target, sizeof(target));
  std::string out(target, n > 0 ? static_cast<std::size_t>(n) : 0);
  constexpr std::string_view kDeleted = " (deleted)";
  if (out.ends_with(kDeleted)) out.resize(out.size() - kDeleted.size());
  return out;
}

}  // namespace

std::uint64_t whole_ticks(std::uint64_t start_boot_ns) { return start_boot_ns / kTickNs * kTickNs; }

bool parse_stat(std::string_view text, ProcFacts& out) {
  // "pid (comm) state ppid pgrp session …": comm may hold anything, so the last parenthesis counts.
  const std::size_t open = text.find('(');
  const std::size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return false;
  out.comm = text.substr(open + 1, close - open - 1);
  const auto fields = split(text.substr(std::min(close + 2, text.size())), ' ');  // [0] is field 3, state
  std::uint64_t ticks = 0;
  std::uint32_t flags = 0;
  if (fields.size() < 20 || !number(fields[1], out.parent_pid) || !number(fields[6], flags) ||
      !number(fields[19], ticks))
    return false;
  if (!number(fields[3], out.session)) out.session = 0;
  out.kernel_thread = (flags & kKernelThreadFlag) != 0;
  out.key.start_boot_ns = ticks * kTickNs;
  return true;
}

void parse_cgroup(std::string_view text, ProcFacts& out) {
  for (const std::string_view line : split(text, '\n')) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first == std::string_view::npos ? first : first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view path = line.substr(second + 1);
    if (line.starts_with("0::"))
      out.cgroup = path;
    else if (out.container_cgroup.empty() && !parse_cgroup_path(path).container_id.empty())
      out.container_cgroup = path;
  }
  if (!parse_cgroup_path(out.cgroup).container_id.empty()) out.container_cgroup.clear();
}

std::string find_cgroup2_mount(std::string_view mounts) {
  for (const std::string_view line : split(mounts, '\n')) {
    const auto fields = split(line, ' ');
    if (fields.size() < 3 || fields[2] != "cgroup2") continue;
    std::string path;
    for (std::size_t i = 0; i < fields[1].size(); ++i) {
      unsigned code = 0;
      const std::string_view escape = fields[1].substr(i);
      // Blanks are written in octal: \040
      if (escape.size() >= 4 && escape[0] == '\\' &&
          std::from_chars(escape.data() + 1, escape.data() + 4, code, 8).ec == std::errc{}) {
        path += static_cast<char>(code);
        i += 3;
      } else {
        path += escape[0];
      }
    }
    return path;
  }
  return {};
}

SystemProc::SystemProc() {
  if (const auto mounts = base::read_small_file("/proc/self/mounts", kMaxProcFile))
    cgroup2_mount_ = find_cgroup2_mount(*mounts);
}

std::vector<std::uint32_t> SystemProc::pids() {
  std::vector<std::uint32_t> out;
  DIR* directory = opendir("/proc");
  if (directory == nullptr) return out;
  while (const dirent* entry = readdir(directory)) {
    std::uint32_t pid = 0;
    if (number(std::string_view(entry->d_name), pid)) out.push_back(pid);
  }
  closedir(directory);
  return out;
}

std::optional<ProcFacts> SystemProc::read(std::uint32_t pid) {
  const std::string process = fmt::format("/proc/{}", pid);
  ProcFacts out;
  out.key.pid = pid;
  const auto stat_text = base::read_small_file(process + "/stat");
  if (!stat_text || !parse_stat(*stat_text, out)) return std::nullopt;
  struct stat st {};
  if (stat(process.c_str(), &st) == 0) out.uid = st.st_uid;  // the effective one, unless the process is not dumpable
  if (const auto status = base::read_small_file(process + "/status")) {
    const std::size_t at = status->find("\nUid:\t");
    if (at != std::string::npos) {
      const auto ids = split(std::string_view(*status).substr(at + 6, status->find('\n', at + 1) - at - 6), '\t');
      if (ids.size() >= 2) number(ids[1], out.uid);
    }
  }
  if (const auto cgroup = base::read_small_file(process + "/cgroup")) parse_cgroup(*cgroup, out);
  if (!cgroup2_mount_.empty() && !out.cgroup.empty() && stat((cgroup2_mount_ + out.cgroup).c_str(), &st) == 0)
    out.cgroup_id = st.st_ino;
  if (out.kernel_thread) return out;
  out.exe = read_link(process + "/exe");
  if (const auto line = base::read_small_file(process + "/cmdline", kMaxProcFile))
    for (const std::string_view argument : split(*line, '\0')) {
      if (out.argv.size() == kMaxArguments) break;
      out.argv.emplace_back(argument.substr(0, kMaxArgumentBytes));
    }
  return out;
}

std::string SystemProc::user_name(std::uint32_t uid) {
  for (const auto& [known, name] : users_)
    if (known == uid) return name;
  passwd entry{};
  passwd* found = nullptr;
  char buffer[4096];
  std::string name = std::to_string(uid);
  if (getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) == 0 && found != nullptr) name = found->pw_name;
  if (users_.size() >= kMaxUsers) users_.clear();
  users_.emplace_back(uid, name);
  return name;
}

}  // namespace penstock::identity
