// The cgroup2 hierarchy: finding directories and their ids, making a cgroup for a run, freezing, ending.
// No state but the mount point; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/base/result.h"

namespace penstock::daemon {

class Cgroups {
 public:
  // `mount`: where cgroup2 is mounted.
  explicit Cgroups(std::string mount) : mount_(std::move(mount)) {}

  const std::string& mount() const { return mount_; }
  std::string directory(std::string_view path) const { return mount_ + std::string(path); }
  // The id the kernel knows the directory by.
  base::Result<std::uint64_t> id(const std::string& directory) const;
  // Every cgroup below the root, as (path from the root, id); at most `limit`.
  void for_each(std::size_t limit, const std::function<void(const std::string& path, std::uint64_t id)>& visit) const;

  // Makes `path` (and its parent); fails when it exists.
  base::Result<> create(std::string_view path) const;
  base::Result<> attach(std::string_view path, std::uint32_t pid) const;
  // Empty means: no process, neither here nor below.
  bool empty(std::string_view path) const;
  // Removes it and what is below; an error while processes remain.
  base::Result<> remove(std::string_view path) const;
  base::Result<> freeze(std::string_view path, bool frozen) const;

 private:
  std::string mount_;
};

}  // namespace penstock::daemon
