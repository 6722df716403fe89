#include "userspace/daemon/service_manager.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "userspace/base/log.h"

namespace penstock::daemon {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

std::uint64_t number(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? value : 0;
}

}  // namespace

ServiceManager::Environment ServiceManager::environment() {
  return {variable("NOTIFY_SOCKET"), variable("WATCHDOG_USEC"), variable("WATCHDOG_PID")};
}

ServiceManager::ServiceManager(const Environment& environment) {
  const std::string& path = environment.notify_socket;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() < 2 || path.size() >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@')) return;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';
  base::Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    base::log_warning("service_manager unreachable socket={} error=\"{}\"", path, std::strerror(errno));
    return;
  }
  socket_ = std::move(socket);
  const std::uint64_t pid = number(environment.watchdog_pid);
  if (environment.watchdog_pid.empty() || pid == static_cast<std::uint64_t>(::getpid()))
    watchdog_ns_ = number(environment.watchdog_usec) * 1000;
}

void ServiceManager::send(std::string_view text) {
  // Nothing depends on it here: a manager that does not listen is told by what it does about that.
  if (socket_) ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

void ServiceManager::ready(std::string_view status) {
  if (ready_ || !socket_) return;
  ready_ = true;
  send(fmt::format("READY=1\nSTATUS={}", status));
}

void ServiceManager::reloading() { send("RELOADING=1"); }

void ServiceManager::reloaded() { send("READY=1"); }

void ServiceManager::stopping() { send("STOPPING=1"); }

void ServiceManager::alive(std::uint64_t boot_ns) {
  if (watchdog_ns_ == 0 || boot_ns < next_alive_ns_) return;
  next_alive_ns_ = boot_ns + watchdog_ns_ / 2;
  send("WATCHDOG=1");
}

}  // namespace penstock::daemon
