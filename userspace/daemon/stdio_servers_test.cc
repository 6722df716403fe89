#include "userspace/daemon/stdio_servers.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace penstock::daemon {
namespace {

// `sh -c PROGRAM` with these as its standard input and output, gone with this object.
class Child {
 public:
  Child(const char* program, int input, int output) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::dup2(input, STDIN_FILENO);
    ::dup2(output, STDOUT_FILENO);
    ::execl("/bin/sh", "sh", "-c", program, nullptr);
    ::_exit(127);
  }
  ~Child() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  std::uint32_t pid() const { return static_cast<std::uint32_t>(pid_); }

 private:
  pid_t pid_ = 0;
};

std::string line_of(int fd) {
  std::string out;
  for (char byte = 0; ::read(fd, &byte, 1) == 1 && byte != '\n';) out += byte;
  return out;
}

const auto kSelf = static_cast<std::uint32_t>(::getpid());

TEST(StdioServers, TheClientIsWhoeverHoldsTheOtherEnds) {
  for (const bool sockets : {false, true}) {
    int in[2], out[2];
    ASSERT_EQ(sockets ? ::socketpair(AF_UNIX, SOCK_STREAM, 0, in) : ::pipe(in), 0);
    ASSERT_EQ(::pipe(out), 0);
    // A wrapper whose child has its standard input and output: both are served by the same client.
    const Child child("echo ready; sh -c 'echo $$; read line; :'; :", in[0], out[1]);
    EXPECT_EQ(line_of(out[0]), "ready");
    const auto server = static_cast<std::uint32_t>(std::stoul(line_of(out[0])));
    EXPECT_NE(server, child.pid());
    EXPECT_EQ(stdio_client(child.pid()), kSelf);
    EXPECT_EQ(stdio_client(server), kSelf);
    ASSERT_EQ(::write(in[1], "\n", 1), 1);
    for (const int fd : {in[0], in[1], out[0], out[1]}) ::close(fd);
  }
}

TEST(StdioServers, WhoReadsFromAFileServesNobody) {
  int out[2];
  ASSERT_EQ(::pipe(out), 0);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  const Child child("echo ready; kill -STOP $$", null, out[1]);
  EXPECT_EQ(line_of(out[0]), "ready");
  EXPECT_EQ(stdio_client(child.pid()), std::nullopt);
  EXPECT_EQ(stdio_client(0), std::nullopt);
  for (const int fd : {null, out[0], out[1]}) ::close(fd);
}

}  // namespace
}  // namespace penstock::daemon
