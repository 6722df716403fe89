#include "userspace/daemon/cgroups.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "userspace/base/atomic_file.h"
#include "userspace/base/fd.h"

namespace penstock::daemon {
namespace {

base::Result<> write_text(const std::string& path, std::string_view text) {
  const base::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return base::errno_error(errno, "open " + path);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return base::errno_error(errno, "write " + path);
  return {};
}

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};
using Dir = std::unique_ptr<DIR, DirCloser>;

std::vector<std::string> children(const std::string& directory) {
  std::vector<std::string> out;
  const Dir dir(::opendir(directory.c_str()));
  if (!dir) return out;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (entry->d_type == DT_DIR && std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0)
      out.emplace_back(entry->d_name);
  }
  return out;
}

}  // namespace

base::Result<std::uint64_t> Cgroups::id(const std::string& directory) const {
  // The inode number of a cgroup2 directory is its id (kernfs, 64-bit inodes since 5.5).
  struct stat info {};
  if (::stat(directory.c_str(), &info) != 0) return base::errno_error(errno, "cgroup " + directory);
  return static_cast<std::uint64_t>(info.st_ino);
}

void Cgroups::for_each(std::size_t limit,
                       const std::function<void(const std::string& path, std::uint64_t id)>& visit) const {
  std::vector<std::string> todo{""};
  while (!todo.empty() && limit > 0) {
    const std::string path = std::move(todo.back());
    todo.pop_back();
    for (const std::string& child : children(mount_ + path)) todo.push_back(path + "/" + child);
    if (path.empty()) continue;
    if (const auto number = id(mount_ + path)) {
      --limit;
      visit(path, *number);
    }
  }
}

base::Result<> Cgroups::create(std::string_view path) const {
  const std::string directory = this->directory(path);
  const std::string parent = directory.substr(0, directory.rfind('/'));
  if (::mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) return base::errno_error(errno, "create cgroup " + parent);
  if (::mkdir(directory.c_str(), 0755) != 0) return base::errno_error(errno, "create cgroup " + directory);
  return {};
}

base::Result<> Cgroups::attach(std::string_view path, std::uint32_t pid) const {
  return write_text(directory(path) + "/cgroup.procs", fmt::format("{}\n", pid));
}

bool Cgroups::empty(std::string_view path) const {
  const auto events = base::read_small_file(directory(path) + "/cgroup.events");
  return !events || events->find("populated 0") != std::string::npos;
}

base::Result<> Cgroups::remove(std::string_view path) const {
  const std::string top = directory(path);
  std::vector<std::string> found{top};
  for (std::size_t i = 0; i < found.size() && found.size() < 4096; ++i) {
    const std::string at = found[i];
    for (const std::string& child : children(at)) found.push_back(at + "/" + child);
  }
  for (auto it = found.rbegin(); it != found.rend(); ++it) {
    if (::rmdir(it->c_str()) != 0 && errno != ENOENT) return base::errno_error(errno, "remove cgroup " + *it);
  }
  // The parent is ours alone when nothing is left in it.
  const std::string parent = top.substr(0, top.rfind('/'));
  if (parent != mount_) ::rmdir(parent.c_str());
  return {};
}

base::Result<> Cgroups::freeze(std::string_view path, bool frozen) const {
  return write_text(directory(path) + "/cgroup.freeze", frozen ? "1" : "0");
}

}  // namespace penstock::daemon
