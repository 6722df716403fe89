#include "userspace/capture/pins.h"

#include <dirent.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace penstock::capture {

base::Result<> make_pin_dir(const std::string& dir) {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(dir).parent_path(), ignored);
  if (mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) return base::errno_error(errno, "create " + dir);
  struct statfs fs {};
  if (statfs(dir.c_str(), &fs) != 0) return base::errno_error(errno, "statfs " + dir);
  if (static_cast<unsigned long>(fs.f_type) != BPF_FS_MAGIC)
    return base::Error{base::ErrorCode::kUnsupported, 0, dir + " is not on a BPF file system (bpffs)",
                       "mount one: mount -t bpf bpf /sys/fs/bpf"};
  return {};
}

std::vector<std::string> list_pins(const std::string& dir) {
  std::vector<std::string> names;
  DIR* d = opendir(dir.c_str());
  if (d == nullptr) return names;
  while (const dirent* entry = readdir(d)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  closedir(d);
  return names;
}

void remove_pins(const std::string& dir, std::string_view keep_prefix) {
  for (const std::string& name : list_pins(dir)) {
    if (!keep_prefix.empty() && name.starts_with(keep_prefix)) continue;
    unlink((dir + "/" + name).c_str());
  }
}

}  // namespace penstock::capture
