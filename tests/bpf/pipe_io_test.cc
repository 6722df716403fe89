// Servers over pipes: start → act → compare, one act per promise of bpf/capture/pipe_io.bpf.c.
#include <fcntl.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "tests/bpf/kernel_test.h"

namespace penstock {
namespace {

using testing_kernel::KernelTest;
using testing_kernel::kScope;

const std::string kCall = R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"erase"}})"
                          "\n";

// A child that answers what it reads from its standard input with "<" and the same bytes, until that ends.
class Server {
 public:
  Server() {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    pid_ = fork();
    if (pid_ == 0) serve(in[0], out[1]);
    input = base::Fd(in[1]);
    output = base::Fd(out[0]);
    close(in[0]);
    close(out[1]);
  }
  ~Server() { end(); }
  void end() {
    input.reset();
    if (pid_ == 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  void say(std::string_view text) {
    if (write(input.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      throw std::runtime_error("write");
  }
  std::string hear(std::size_t bytes) {
    std::string out(bytes, '\0');
    std::size_t have = 0;
    for (ssize_t n; have < bytes && (n = read(output.get(), out.data() + have, bytes - have)) > 0;)
      have += static_cast<std::size_t>(n);
    out.resize(have);
    return out;
  }
  // Waits until it has stopped, or ended by a signal.
  int next_signal() {
    int status = 0;
    waitpid(pid_, &status, WUNTRACED);
    if (WIFSIGNALED(status)) pid_ = 0;
    return WIFSTOPPED(status) ? WSTOPSIG(status) : WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }
  std::uint32_t pid() const { return static_cast<std::uint32_t>(pid_); }
  base::Fd input, output;

 private:
  [[noreturn]] static void serve(int in, int out) {
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    char buffer[4096], mark = '<';
    for (ssize_t n; (n = read(STDIN_FILENO, buffer, sizeof buffer)) > 0;) {
      iovec answer[2] = {{&mark, 1}, {buffer, static_cast<std::size_t>(n)}};
      if (writev(STDOUT_FILENO, answer, 2) < 0) break;
    }
    _exit(0);
  }
  pid_t pid_ = 0;
};

class PipeIo : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    seen_.of_process = server_.pid();
    ASSERT_TRUE(kernel_->watch_stdio(server_.pid(), static_cast<std::uint32_t>(getpid())));
  }
  std::uint64_t cookie() const { return seen_.binds.empty() ? 0 : seen_.binds.begin()->second.cookie; }
  gate::SocketRef server_ref() const {
    gate::SocketRef ref;
    ref.cookie = cookie();
    ref.stdio_server = server_.pid();
    return ref;
  }
  Server server_;
};

TEST_F(PipeIo, BothDirectionsAndTheEndAreSeenInTheServer) {
  server_.say(kCall);
  ASSERT_EQ(server_.hear(kCall.size() + 1), "<" + kCall);
  ASSERT_TRUE(wait_for([&] { return seen_.plaintext(cookie(), PN_TO_CLIENT) == "<" + kCall; }));
  EXPECT_EQ(seen_.plaintext(cookie(), PN_TO_SERVER), kCall);
  const pn_ev_bind& bind = seen_.binds.begin()->second;
  EXPECT_EQ(bind.how, PN_BIND_STDIO);
  EXPECT_EQ(bind.hdr.tgid, server_.pid());
  EXPECT_EQ(bind.client_tgid, static_cast<std::uint32_t>(getpid()));
  server_.end();
  ASSERT_TRUE(wait_for([&] { return !seen_.closes.empty(); }));
  EXPECT_EQ(seen_.closes.front().to_server_bytes, kCall.size());
  EXPECT_EQ(seen_.closes.front().to_client_bytes, kCall.size() + 1);
}

TEST_F(PipeIo, WhatIsNoJsonIsNotFollowedAndNobodyElseIs) {
  Server other;
  other.say(kCall);
  other.hear(kCall.size() + 1);
  server_.say("plain text\n");
  server_.hear(12);
  server_.say(kCall);
  server_.hear(kCall.size() + 1);
  Server last;
  ASSERT_TRUE(kernel_->watch_stdio(last.pid(), static_cast<std::uint32_t>(getpid())));
  last.say(kCall);
  ASSERT_TRUE(wait_for([&] { return !seen_.binds.empty(); }));
  EXPECT_EQ(seen_.binds.size(), 1u);
  EXPECT_EQ(seen_.binds.begin()->second.hdr.tgid, last.pid());
}

TEST_F(PipeIo, AGatedReadStopsTheServerUntilItIsLetGo) {
  enforce();  // of the client; the server has no scope of its own
  server_.say(kCall);
  EXPECT_EQ(server_.next_signal(), SIGSTOP);
  ASSERT_TRUE(wait_for([&] { return !seen_.gates.empty(); }));
  EXPECT_EQ(seen_.gates.front().what, PN_GATE_CLOSED);
  EXPECT_EQ(seen_.gates.front().len, kCall.size());
  EXPECT_EQ(seen_.plaintext(cookie(), PN_TO_SERVER), kCall);
  EXPECT_EQ(seen_.data.front().event.flags, PN_DATA_PROVISIONAL);
  auto pushed = gate_->push(server_ref());
  ASSERT_TRUE(pushed && *pushed);
  EXPECT_EQ(server_.hear(kCall.size() + 1), "<" + kCall);
}

TEST_F(PipeIo, ARefusedReadEndsTheServerBeforeItsNextInstruction) {
  enforce();
  server_.say("junk\n" + kCall);  // does not hide the call behind it
  EXPECT_EQ(server_.next_signal(), SIGSTOP);
  ASSERT_TRUE(wait_for([&] { return !seen_.gates.empty(); }));
  auto other = server_ref();
  other.cookie++;
  auto wrong = gate_->destroy(other);
  EXPECT_TRUE(wrong && !*wrong) << "not this server's stream";
  auto destroyed = gate_->destroy(server_ref());
  ASSERT_TRUE(destroyed && *destroyed);
  EXPECT_EQ(server_.next_signal(), SIGKILL);
  EXPECT_EQ(server_.hear(1), "");
}

TEST_F(PipeIo, WithoutADaemonOnFailureDecides) {
  for (const std::uint32_t on_failure : {PN_FAIL_OPEN, PN_FAIL_CLOSED}) {
    kernel_->unload();
    load([](capture::KernelOptions& o) { o.dead_after_ns = 1; });
    enforce(on_failure);
    ASSERT_TRUE(kernel_->watch_stdio(server_.pid(), static_cast<std::uint32_t>(getpid())));
    server_.say(kCall);
    if (on_failure == PN_FAIL_OPEN)
      EXPECT_EQ(server_.hear(kCall.size() + 1), "<" + kCall);
    else
      EXPECT_EQ(server_.next_signal(), SIGSTOP);
  }
}

TEST_F(PipeIo, UnwatchedSystemCallsAreLeftAlone) {
  kernel_->unwatch_stdio();
  server_.say(kCall);
  server_.hear(kCall.size() + 1);
  ASSERT_TRUE(kernel_->watch_stdio(server_.pid(), static_cast<std::uint32_t>(getpid())));
  server_.say(kCall);
  ASSERT_TRUE(wait_for([&] { return seen_.plaintext(cookie(), PN_TO_SERVER) == kCall; }));
}

}  // namespace
}  // namespace penstock
