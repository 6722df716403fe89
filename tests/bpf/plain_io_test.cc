// Cleartext on TCP sockets: start → act → compare, one act per promise of bpf/capture/plain_io.bpf.c.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <thread>

#include "tests/bpf/kernel_test.h"

namespace penstock {
namespace {

using testing_kernel::KernelTest;
using testing_tls::Pair;

const std::string kRequest = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";

class PlainIo : public KernelTest {
 protected:
  static void write_all(const base::Fd& fd, std::string_view text) {
    ASSERT_EQ(send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  static std::string read_exactly(const base::Fd& fd, std::size_t bytes) {
    std::string out(bytes, '\0');
    std::size_t have = 0;
    while (have < bytes) {
      const ssize_t n = recv(fd.get(), out.data() + have, bytes - have, 0);
      if (n <= 0) break;
      have += static_cast<std::size_t>(n);
    }
    out.resize(have);
    return out;
  }
  bool sees(const Pair& pair, pn_direction direction, const std::string& text) {
    return wait_for([&] { return seen_.plaintext(pair.cookie, direction) == text; });
  }
};

TEST_F(PlainIo, TakesBothDirectionsFromTheConnectingSide) {
  Pair pair;
  write_all(pair.client_fd, kRequest);
  EXPECT_EQ(read_exactly(pair.server_fd, kRequest.size()), kRequest);
  write_all(pair.server_fd, "HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_EQ(read_exactly(pair.client_fd, 19), "HTTP/1.1 200 OK\r\n\r\n");
  pair.client_fd.reset();
  ASSERT_TRUE(wait_for([&] { return !seen_.closes.empty(); }));
  EXPECT_EQ(seen_.plaintext(pair.cookie, PN_TO_SERVER), kRequest);
  EXPECT_EQ(seen_.plaintext(pair.cookie, PN_TO_CLIENT), "HTTP/1.1 200 OK\r\n\r\n");
  ASSERT_EQ(seen_.binds.size(), 1u) << "the accepting side must be ignored";
  const pn_ev_bind& bind = seen_.binds.begin()->second;
  EXPECT_EQ(bind.how, PN_BIND_CLEAR);
  EXPECT_EQ(bind.remote_port, pair.server_port);
  EXPECT_EQ(bind.joined, 0);
  EXPECT_EQ(seen_.closes.front().to_server_bytes, kRequest.size());
  EXPECT_EQ(seen_.closes.front().to_client_bytes, 19u);
}

TEST_F(PlainIo, ReadsEveryKindOfVectorAndReceive) {
  Pair pair;
  std::string parts[] = {"PO", "", "ST / HTTP/1.1\r\n", "\r\n"};
  iovec out[4];
  for (int i = 0; i < 4; ++i) out[i] = {parts[i].data(), parts[i].size()};
  const std::string request = parts[0] + parts[2] + parts[3];
  ASSERT_EQ(writev(pair.client_fd.get(), out, 4), static_cast<ssize_t>(request.size()));
  ASSERT_TRUE(sees(pair, PN_TO_SERVER, request));

  const std::string answer = "read-recv-readv-recvmsg-";
  write_all(pair.server_fd, answer);
  char buffer[8] = {}, more[8] = {};
  iovec in[2] = {{buffer, 3}, {more, 3}};
  msghdr message{};
  message.msg_iov = in;
  message.msg_iovlen = 2;
  ASSERT_EQ(recv(pair.client_fd.get(), buffer, 4, MSG_PEEK), 4);  // not taken
  ASSERT_EQ(read(pair.client_fd.get(), buffer, 5), 5);
  ASSERT_EQ(recv(pair.client_fd.get(), buffer, 5, 0), 5);
  ASSERT_EQ(readv(pair.client_fd.get(), in, 2), 6);
  in[1].iov_len = 5;
  ASSERT_EQ(recvmsg(pair.client_fd.get(), &message, 0), 8);
  EXPECT_TRUE(sees(pair, PN_TO_CLIENT, answer));
}

TEST_F(PlainIo, WhatIsNoHttpIsNeverFollowed) {
  Pair other, server_speaks;
  write_all(other.client_fd, "*1\r\n$4\r\nPING\r\n");
  write_all(other.client_fd, kRequest);  // decided by then
  write_all(server_speaks.server_fd, "GET lost\r\n");
  Pair pair;
  write_all(pair.client_fd, kRequest);
  ASSERT_TRUE(sees(pair, PN_TO_SERVER, kRequest));
  EXPECT_EQ(seen_.data.size(), 1u);
}

TEST_F(PlainIo, SingleBytesAndEmptyLinesBeginARequestToo) {
  Pair pair;
  const std::string request = "\r\n" + kRequest;
  for (const char byte : request) write_all(pair.client_fd, std::string_view(&byte, 1));
  EXPECT_TRUE(sees(pair, PN_TO_SERVER, request));
}

TEST_F(PlainIo, ATunnelIsFollowedFromWhereHttpBegins) {
  Pair pair;
  write_all(pair.client_fd, "CONNECT api.test:80 HTTP/1.1\r\n\r\n");
  write_all(pair.client_fd, kRequest);
  EXPECT_TRUE(sees(pair, PN_TO_SERVER, kRequest));
}

TEST_F(PlainIo, JoinsAConnectionOlderThanThePrograms) {
  kernel_->unload();
  Pair pair;
  write_all(pair.client_fd, "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nab");
  load({});
  write_all(pair.client_fd, "cde");  // the rest of a body
  write_all(pair.client_fd, kRequest);
  ASSERT_TRUE(sees(pair, PN_TO_SERVER, kRequest));
  EXPECT_EQ(seen_.binds.begin()->second.joined, 1);
}

TEST_F(PlainIo, TakesAShortSendsRestOnce) {
  Pair pair;
  const int small = 64 << 10;
  setsockopt(pair.client_fd.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  std::string body = kRequest;
  while (body.size() < (6U << 20)) body += std::to_string(body.size()) + ",";
  const ssize_t first = send(pair.client_fd.get(), body.data(), body.size(), MSG_DONTWAIT);
  ASSERT_GT(first, 0);
  ASSERT_LT(first, static_cast<ssize_t>(body.size()));
  std::thread reader([&] { EXPECT_EQ(read_exactly(pair.server_fd, body.size()), body); });
  write_all(pair.client_fd, std::string_view(body).substr(static_cast<std::size_t>(first)));
  reader.join();
  ASSERT_TRUE(sees(pair, PN_TO_SERVER, body));
  std::size_t copied = 0;
  for (const auto& d : seen_.data) copied += d.payload.size();
  EXPECT_EQ(copied, body.size());
}

TEST_F(PlainIo, BytesThatAreSentFromAFileAreACountedGap) {
  Pair pair;
  const base::Fd file(memfd_create("body", MFD_CLOEXEC));
  ASSERT_EQ(write(file.get(), "from a file", 11), 11);
  off_t from = 0;
  const auto lost = [&] { return kernel_->read_counters().loss[PN_EV_data].lost_fault_bytes; };
  const std::uint64_t before = lost();
  write_all(pair.client_fd, kRequest);
  ASSERT_EQ(sendfile(pair.client_fd.get(), file.get(), &from, 11), 11);
  write_all(pair.client_fd, kRequest);
  EXPECT_TRUE(sees(pair, PN_TO_SERVER, kRequest + std::string(11, '?') + kRequest));
  EXPECT_EQ(lost() - before, 11u);
}

TEST_F(PlainIo, SleepsWhenToldUntilARequestCouldBeOfInterest) {
  Pair pair;
  const std::string get = "GET /health HTTP/1.1\r\n\r\n";
  write_all(pair.client_fd, get);
  ASSERT_TRUE(sees(pair, PN_TO_SERVER, get));
  ASSERT_TRUE(gate_->admit(pair.cookie, 0, PN_ADMIT_IGNORE));
  const std::string answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
  write_all(pair.server_fd, answer);
  read_exactly(pair.client_fd, answer.size());
  write_all(pair.client_fd, "no request");
  write_all(pair.client_fd, kRequest);
  EXPECT_TRUE(sees(pair, PN_TO_SERVER, get + std::string(10, '?') + kRequest));
  EXPECT_EQ(seen_.plaintext(pair.cookie, PN_TO_CLIENT), "");
  // Told again each time, it gives up.
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(gate_->admit(pair.cookie, 0, PN_ADMIT_IGNORE));
    write_all(pair.client_fd, kRequest);
  }
  Pair last;
  write_all(last.client_fd, kRequest);
  ASSERT_TRUE(sees(last, PN_TO_SERVER, kRequest));
  EXPECT_LT(seen_.data.size(), 80u);
}

TEST_F(PlainIo, NothingOfAGatedRequestLeavesBeforeItIsAdmitted) {
  enforce();
  Pair pair;
  write_all(pair.client_fd, kRequest.substr(0, 20));
  write_all(pair.client_fd, kRequest.substr(20));
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 2; }));
  EXPECT_EQ(seen_.gates[0].what, PN_GATE_CLOSED);
  EXPECT_EQ(seen_.gates[1].what, PN_GATE_BEHIND);
  EXPECT_EQ(seen_.gates[1].pos, 20u);
  EXPECT_EQ(seen_.plaintext(pair.cookie, PN_TO_SERVER), kRequest);
  for (const auto& d : seen_.data) EXPECT_EQ(d.event.flags, PN_DATA_PROVISIONAL);
  EXPECT_FALSE(pair.wait_arrival(300));
  EXPECT_EQ(pair.arrived_bytes(), 0);
  ASSERT_TRUE(gate_->admit(pair.cookie, kRequest.size(), 0));
  auto pushed = gate_->push(ref(pair, seen_.gates[0].fd));
  ASSERT_TRUE(pushed && *pushed);
  EXPECT_EQ(read_exactly(pair.server_fd, kRequest.size()), kRequest);
  // The next one on the connection waits again.
  write_all(pair.client_fd, kRequest);
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 3; }));
  EXPECT_EQ(pair.arrived_bytes(), 0);
  auto destroyed = gate_->destroy(ref(pair));
  ASSERT_TRUE(destroyed && *destroyed);
  EXPECT_EQ(send(pair.client_fd.get(), "x", 1, MSG_NOSIGNAL), -1);
}

TEST_F(PlainIo, AGatedScopeFollowsAConnectionThatWasPutToSleep) {
  Pair pair;
  write_all(pair.client_fd, kRequest);
  ASSERT_TRUE(sees(pair, PN_TO_SERVER, kRequest));
  ASSERT_TRUE(gate_->admit(pair.cookie, 0, PN_ADMIT_IGNORE));
  write_all(pair.client_fd, "body");
  enforce();
  write_all(pair.client_fd, kRequest);
  ASSERT_TRUE(wait_for([&] { return !seen_.gates.empty(); }));
  EXPECT_EQ(seen_.gates[0].what, PN_GATE_CLOSED);
  EXPECT_EQ(seen_.gates[0].pos, kRequest.size() + 4);
}

TEST_F(PlainIo, AChildBelongsToTheCgroupItWasPutIntoBeforeAnybodyLooksAtIt) {
  enforce();
  ASSERT_TRUE(gate_->set_process_scope(static_cast<std::uint32_t>(getpid()), 0));  // what the child inherits
  auto root = capture::find_cgroup2();
  ASSERT_TRUE(root);
  const std::string folder = *root + "/penstock-test-" + std::to_string(getpid());
  ASSERT_EQ(mkdir(folder.c_str(), 0755), 0);
  struct stat st {};
  ASSERT_EQ(stat(folder.c_str(), &st), 0);
  ASSERT_TRUE(gate_->set_cgroup_scope(st.st_ino, testing_kernel::kScope));
  Pair pair;
  const pid_t child = fork();
  if (child == 0) {
    const base::Fd procs(open((folder + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    const bool moved = write(procs.get(), "0", 1) == 1;
    const bool sent = send(pair.client_fd.get(), kRequest.data(), kRequest.size(), 0) > 0;
    _exit(moved && sent ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(wait_for([&] { return !seen_.gates.empty(); }));
  EXPECT_EQ(pair.arrived_bytes(), 0);
  pair.client_fd.reset();
  EXPECT_TRUE(gate_->clear_cgroup_scope(st.st_ino));
  EXPECT_EQ(rmdir(folder.c_str()), 0);
}

TEST_F(PlainIo, AFileSentBehindAGatedHeadIsHeldWithIt) {
  enforce();
  Pair pair;
  const base::Fd file(memfd_create("body", MFD_CLOEXEC));
  ASSERT_EQ(write(file.get(), "{}", 2), 2);
  off_t from = 0;
  write_all(pair.client_fd, kRequest.substr(0, kRequest.size() - 2));
  ASSERT_EQ(sendfile(pair.client_fd.get(), file.get(), &from, 2), 2);
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 2; }));
  EXPECT_EQ(seen_.gates[1].what, PN_GATE_BEHIND);
  EXPECT_EQ(pair.arrived_bytes(), 0);
}

}  // namespace
}  // namespace penstock
