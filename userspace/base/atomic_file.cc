#include "userspace/base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "userspace/base/fd.h"

namespace penstock::base {
namespace {

Result<> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "write " + path);
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

Result<> write_file_atomically(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".tmp";
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  {
    const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return errno_error(errno, "create " + temporary);
    PN_CHECK(write_all(fd.get(), content, temporary));
    if (::fsync(fd.get()) != 0) return errno_error(errno, "sync " + temporary);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return errno_error(errno, "rename to " + path);
  const Fd directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return errno_error(errno, "open " + folder);
  if (::fsync(directory.get()) != 0) return errno_error(errno, "sync " + folder);
  return {};
}

Result<std::string> read_small_file(const std::string& path, std::size_t max_bytes) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return errno_error(errno, "open " + path);
  std::string content;
  char buffer[16384];
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "read " + path);
    if (n == 0) return content;
    content.append(buffer, static_cast<std::size_t>(n));
    if (content.size() > max_bytes) return errno_error(EFBIG, "read " + path);
  }
}

}  // namespace penstock::base
