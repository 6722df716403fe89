#include "userspace/discovery/well_known.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <string_view>

namespace penstock::discovery {
namespace {

using namespace std::string_view_literals;

constexpr std::array kLibraryFolders{"usr/lib/x86_64-linux-gnu"sv,
                                     "lib/x86_64-linux-gnu"sv,
                                     "usr/lib64"sv,
                                     "lib64"sv,
                                     "usr/lib"sv,
                                     "lib"sv,
                                     "usr/local/lib"sv,
                                     "opt/conda/lib"sv};
constexpr std::array kLibraries{"libssl.so.3"sv,      "libcrypto.so.3"sv,  "libssl.so.1.1"sv,
                                "libcrypto.so.1.1"sv, "libgnutls.so.30"sv, "libssl3.so"sv};
constexpr std::array kProgramFolders{"usr/bin"sv, "usr/local/bin"sv, "bin"sv, "opt/node/bin"sv};
constexpr std::array kPrograms{"node"sv, "nodejs"sv, "bun"sv, "deno"sv, "claude"sv, "codex"sv, "opencode"sv};

base::Fd open_inside(int root, const std::string& path) {
  open_how how{};
  // O_PATH first: opening a FIFO or a device for reading has effects, asking what it is has none.
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const base::Fd found(static_cast<int>(syscall(SYS_openat2, root, path.c_str(), &how, sizeof(how))));
  struct stat st {};
  if (!found || fstat(found.get(), &st) != 0 || !S_ISREG(st.st_mode)) return {};
  return base::Fd(open(fmt::format("/proc/self/fd/{}", found.get()).c_str(), O_RDONLY | O_CLOEXEC));
}

}  // namespace

std::vector<KnownFile> open_well_known(const std::string& root) {
  std::vector<KnownFile> out;
  const base::Fd directory(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return out;
  const auto look = [&](auto& folders, auto& names) {
    for (const std::string_view folder : folders)
      for (const std::string_view name : names) {
        const std::string path = fmt::format("{}/{}", folder, name);
        if (base::Fd fd = open_inside(directory.get(), path))
          out.push_back({"/" + path, std::make_shared<base::Fd>(std::move(fd))});
      }
  };
  look(kLibraryFolders, kLibraries);
  look(kProgramFolders, kPrograms);
  return out;
}

}  // namespace penstock::discovery
