// Tells systemd how the daemon is: sd_notify(3), which is one datagram to $NOTIFY_SOCKET. Without that variable every
// call does nothing. Event loop only: a loop that hangs stops feeding the watchdog, and that is the point of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "userspace/base/fd.h"

namespace penstock::daemon {

class ServiceManager {
 public:
  // The environment's values: NOTIFY_SOCKET (a path, or "@name" for an abstract one), WATCHDOG_USEC and WATCHDOG_PID.
  struct Environment {
    std::string notify_socket;
    std::string watchdog_usec;
    std::string watchdog_pid;
  };
  static Environment environment();

  ServiceManager() = default;
  explicit ServiceManager(const Environment& environment);

  void ready(std::string_view status);  // said once
  void reloading();
  void reloaded();
  void stopping();
  // Once per turn of the event loop; a datagram goes out at half the watchdog's time.
  void alive(std::uint64_t boot_ns);

  bool active() const { return static_cast<bool>(socket_); }
  std::uint64_t watchdog_ns() const { return watchdog_ns_; }  // 0: nobody watches

 private:
  void send(std::string_view text);

  base::Fd socket_;
  std::uint64_t watchdog_ns_ = 0;
  std::uint64_t next_alive_ns_ = 0;
  bool ready_ = false;
};

}  // namespace penstock::daemon
