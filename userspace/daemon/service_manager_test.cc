#include "userspace/daemon/service_manager.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

namespace penstock::daemon {
namespace {

// What systemd would hold: a datagram socket with a name.
class Manager {
 public:
  Manager() : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name_.data() + 1, name_.size() - 1);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size());
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  }
  const std::string& name() const { return name_; }
  // The next datagram; empty: there is none.
  std::string next() {
    char buffer[512];
    const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    return n > 0 ? std::string(buffer, static_cast<std::size_t>(n)) : std::string();
  }

 private:
  std::string name_ = "@penstock-test-" + std::to_string(::getpid());
  base::Fd fd_;
};

TEST(ServiceManager, SaysReadyOnceAndThatItReloadsAndEnds) {
  Manager systemd;
  ServiceManager manager({systemd.name(), "", ""});
  manager.ready("2 policies");
  manager.ready("3 policies");
  EXPECT_EQ(systemd.next(), "READY=1\nSTATUS=2 policies");
  EXPECT_EQ(systemd.next(), "");
  manager.reloading();
  manager.reloaded();
  manager.stopping();
  EXPECT_EQ(systemd.next(), "RELOADING=1");
  EXPECT_EQ(systemd.next(), "READY=1");
  EXPECT_EQ(systemd.next(), "STOPPING=1");
}

TEST(ServiceManager, FeedsTheWatchdogTwiceInItsTime) {
  Manager systemd;
  ServiceManager manager({systemd.name(), "10000000", std::to_string(::getpid())});
  EXPECT_EQ(manager.watchdog_ns(), 10'000'000'000U);
  int fed = 0;
  for (std::uint64_t second = 100; second <= 120; ++second) {
    manager.alive(second * 1'000'000'000);
    if (systemd.next() == "WATCHDOG=1") ++fed;
  }
  EXPECT_EQ(fed, 5);
}

TEST(ServiceManager, WithoutAManagerNothingIsSaid) {
  EXPECT_FALSE(ServiceManager({"", "1000000", ""}).active());
  EXPECT_FALSE(ServiceManager({"relative", "", ""}).active());
  EXPECT_FALSE(ServiceManager({std::string(200, '/'), "", ""}).active());
  EXPECT_FALSE(ServiceManager({"/nonexistent/notify", "", ""}).active());
  Manager systemd;
  EXPECT_EQ(ServiceManager({systemd.name(), "1000000", "1"}).watchdog_ns(), 0U) << "meant for another process";
  EXPECT_EQ(ServiceManager({systemd.name(), "soon", ""}).watchdog_ns(), 0U);
}

}  // namespace
}  // namespace penstock::daemon
