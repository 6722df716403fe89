#include "userspace/base/log.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <string>

#include "userspace/base/result.h"

namespace penstock::base {
namespace {
std::atomic<LogLevel> g_level{LogLevel::kInfo};
constexpr std::string_view kNames[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
}  // namespace

void set_log_level(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }
LogLevel log_level() { return g_level.load(std::memory_order_relaxed); }

void log_line(LogLevel level, std::string_view text) {
  std::string line = fmt::format("{} {}\n", kNames[static_cast<int>(level)], text);
  // A lost log line is not worth failing for; EINTR and short writes to a terminal or pipe may lose one.
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

std::string Error::message() const { return errno_ == 0 ? what : what + " (" + std::strerror(errno_) + ")"; }

Error errno_error(int err, std::string_view what, std::string_view hint) {
  ErrorCode code = err == EPERM || err == EACCES ? ErrorCode::kPrivilege : ErrorCode::kFailure;
  return Error{code, err, std::string(what), std::string(hint)};
}

void bug(const char* file, int line, std::string_view what) {
  std::fprintf(stderr, "BUG %s:%d: %.*s\n", file, line, static_cast<int>(what.size()), what.data());
  std::abort();
}

}  // namespace penstock::base
