// How connections begin and what they move; ciphertext that nobody can read; datagrams: start → act → compare.
#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

#include "parsers/wire/tls_hello/testing.h"
#include "tests/bpf/kernel_test.h"

namespace penstock {
namespace {

using namespace testing_kernel;  // NOLINT(google-build-using-namespace)
namespace tls = parsers::wire::tls_hello::testing;

const std::string kHello = tls::record(0x16, tls::client_hello(tls::server_name("api.example") + tls::alpn({"h2"})));

class Opaque : public KernelTest {
 protected:
  static void send_raw(const Pair& pair, const std::string& bytes) {
    ASSERT_EQ(send(pair.client_fd.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }
  // One byte per call, with nothing of the next byte near it in memory.
  static void send_singly(const Pair& pair, const std::string& bytes) {
    for (const char c : bytes) {
      const char alone[8] = {c};
      ASSERT_EQ(send(pair.client_fd.get(), alone, 1, 0), 1);
    }
  }
  static void send_from_file(const Pair& pair, const std::string& bytes) {
    const base::Fd file(memfd_create("bytes", MFD_CLOEXEC));
    ASSERT_EQ(write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    off_t at = 0;
    ASSERT_EQ(sendfile(pair.client_fd.get(), file.get(), &at, bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  static std::string data_record(std::size_t bytes) { return tls::record(0x17, std::string(bytes, 'x')); }

  bool told(const Pair& pair, std::size_t bytes) {
    return wait_for([&] { return seen_.beginnings[pair.cookie].seen_bytes() == bytes; });
  }
  bool held_as_opaque(const Pair& pair) {
    return wait_for([&] {
      return std::any_of(seen_.gates.begin(), seen_.gates.end(), [&](const pn_ev_gate& gate) {
        return gate.cookie == pair.cookie && gate.what == PN_GATE_OPAQUE;
      });
    });
  }
  // Whatever has been sent has arrived, or is held.
  int arrived(const Pair& pair, int at_least) {
    EXPECT_TRUE(wait_for([&] { return pair.arrived_bytes() >= at_least; }));
    return pair.arrived_bytes();
  }
  void strict() { enforce(PN_FAIL_HOLD_LAST, 60 * kSecond, 0, PN_MODE_STRICT); }
};

TEST_F(Opaque, AConnectionBeginsWithItsClientHello) {
  Pair whole, single;
  send_raw(whole, kHello + data_record(5000));
  send_singly(single, kHello);
  ASSERT_TRUE(told(whole, PN_HELLO_BYTES));
  ASSERT_TRUE(told(single, kHello.size()));
  for (const Pair* pair : {&whole, &single}) {
    const auto& hello = seen_.beginnings[pair->cookie].hello();
    ASSERT_TRUE(hello);
    EXPECT_EQ(hello->server_name, "api.example");
    EXPECT_EQ(hello->alpn, "h2");
    const pn_ev_hello& event = seen_.hellos[pair->cookie].front();
    EXPECT_EQ(event.hdr.tgid, static_cast<std::uint32_t>(getpid()));
    EXPECT_EQ(event.remote_port, pair->server_port);
    EXPECT_EQ(event.local_port, pair->client_port);
    EXPECT_EQ(event.flags, 0);
  }
  EXPECT_EQ(seen_.hellos[whole.cookie].size(), 1u);
}

TEST_F(Opaque, WhatItMovedIsToldAtItsEnd) {
  Pair pair;
  send_raw(pair, kHello + data_record(100'000));
  EXPECT_EQ(arrived(pair, 100'000), static_cast<int>(kHello.size() + 100'005));
  ASSERT_EQ(send(pair.server_fd.get(), "answer", 6, 0), 6);
  ASSERT_TRUE(pair.wait_answer(10'000));
  pair.server_fd.reset();
  pair.client_fd.reset();
  ASSERT_TRUE(wait_for([&] { return seen_.wire_ends.contains(pair.cookie); }));
  EXPECT_GE(seen_.wire_ends[pair.cookie].sent_bytes, kHello.size() + 100'005);
  EXPECT_LE(seen_.wire_ends[pair.cookie].sent_bytes, kHello.size() + 100'007);  // SYN and FIN count as one each
}

TEST_F(Opaque, LiveConnectionsSayWhatTheyHaveMoved) {
  Pair pair;
  send_raw(pair, std::string(1000, 'x'));
  arrived(pair, 1000);
  ASSERT_TRUE(wait_for([&] { return gate_->wire_bytes(ref(pair)).value_or(gate::WireBytes{}).sent >= 1000; }));
  EXPECT_FALSE(gate_->wire_bytes(ref(pair))->kernel_tls);
  gate::SocketRef other = ref(pair);
  ++other.cookie;
  EXPECT_FALSE(gate_->wire_bytes(other));
}

TEST_F(Opaque, OtherProtocolsAndTheAcceptingSideAreNotTold) {
  Pair plain, served, marker;
  send_raw(plain, "GET / HTTP/1.1\r\n\r\n");
  send_raw(plain, kHello);
  ASSERT_EQ(send(served.server_fd.get(), kHello.data(), kHello.size(), 0), static_cast<ssize_t>(kHello.size()));
  send_raw(marker, kHello);
  ASSERT_TRUE(told(marker, kHello.size()));
  EXPECT_EQ(seen_.hellos.size(), 1u);
}

TEST_F(Opaque, ABeginningThatCannotBeReadIsToldAsSuch) {
  Pair pair;
  send_from_file(pair, kHello);
  ASSERT_TRUE(wait_for([&] { return seen_.hellos.contains(pair.cookie); }));
  EXPECT_EQ(seen_.hellos[pair.cookie].front().flags, PN_HELLO_SPLICED);
  EXPECT_EQ(seen_.hellos[pair.cookie].front().len, 0u);
}

TEST_F(Opaque, AHandshakeLeavesAndWhatFollowsIsHeld) {
  strict();
  Pair whole, single, spliced, torn;
  const std::string handshake = kHello + tls::record(0x14, "\x01") + tls::record(0x17, std::string(69, 'f'));
  send_raw(whole, handshake);
  send_singly(single, handshake);
  send_raw(torn, handshake.substr(0, 7));
  send_raw(torn, handshake.substr(7));
  for (Pair* pair : {&whole, &single, &torn}) {
    EXPECT_EQ(arrived(*pair, static_cast<int>(handshake.size())), static_cast<int>(handshake.size()));
    send_raw(*pair, data_record(600));
    EXPECT_TRUE(held_as_opaque(*pair));
    EXPECT_EQ(pair->arrived_bytes(), static_cast<int>(handshake.size()));
  }
  send_from_file(spliced, handshake + data_record(600));
  EXPECT_TRUE(held_as_opaque(spliced));
  EXPECT_EQ(spliced.arrived_bytes(), 0);
}

TEST_F(Opaque, WhatCallsItselfAHandshakeIsOneOnlyAtTheBeginning) {
  strict();
  Pair late, endless;
  send_raw(late, kHello + data_record(200));
  EXPECT_EQ(arrived(late, static_cast<int>(kHello.size() + 205)), static_cast<int>(kHello.size() + 205));
  send_raw(late, tls::record(0x16, std::string(4000, 'x')));
  EXPECT_TRUE(held_as_opaque(late));
  for (int i = 0; i < 6; ++i) send_raw(endless, tls::record(0x16, std::string(4000, 'x')));
  EXPECT_TRUE(held_as_opaque(endless));
  EXPECT_LE(endless.arrived_bytes(), 5 * 4005);
}

TEST_F(Opaque, DataInASynNeverLeaves) {
  strict();
  const base::Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof to;
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&to), length), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&to), &length);
  const int on = 1;
  ASSERT_EQ(setsockopt(client.get(), IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &on, sizeof on), 0);
  const std::string bytes = data_record(600);
  ASSERT_EQ(sendto(client.get(), bytes.data(), bytes.size(), MSG_FASTOPEN | MSG_DONTWAIT,
                   reinterpret_cast<sockaddr*>(&to), length),
            static_cast<ssize_t>(bytes.size()));
  pollfd waiting{listener.get(), POLLIN, 0};
  ASSERT_EQ(poll(&waiting, 1, 30'000), 1);  // the SYN is sent again, without them
  const base::Fd server(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  pollfd connected{client.get(), POLLOUT, 0};
  ASSERT_EQ(poll(&connected, 1, 30'000), 1);
  int arrived_bytes = 0, unsent_bytes = 0;
  ioctl(server.get(), FIONREAD, &arrived_bytes);
  ioctl(client.get(), SIOCOUTQ, &unsent_bytes);
  EXPECT_EQ(arrived_bytes, 0);
  EXPECT_EQ(unsent_bytes, static_cast<int>(bytes.size()));
}

TEST_F(Opaque, EnforceScopesRefuseTheOpaqueWhereTheySaySo) {
  for (const std::uint32_t flags : {0U, static_cast<std::uint32_t>(PN_SCOPE_OPAQUE_ALLOW)}) {
    pn_scope_val scope{};
    scope.mode = PN_MODE_ENFORCE;
    scope.flags = flags;
    scope.deadline_ns = 60 * kSecond;
    ASSERT_TRUE(gate_->set_scope(kScope, scope));
    ASSERT_TRUE(gate_->set_process_scope(static_cast<std::uint32_t>(getpid()), kScope));
    Pair pair;
    send_raw(pair, kHello + data_record(600));
    if (flags == 0) {
      EXPECT_TRUE(held_as_opaque(pair));
      EXPECT_EQ(pair.arrived_bytes(), 0);
    } else {
      EXPECT_EQ(arrived(pair, static_cast<int>(kHello.size() + 605)), static_cast<int>(kHello.size() + 605));
    }
  }
}

class Datagrams : public Opaque {
 protected:
  Datagrams() {
    to_.sin_family = AF_INET;
    to_.sin_port = htons(443);
    to_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
  base::Fd udp() { return base::Fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); }
  int connect_to(const base::Fd& fd) { return connect(fd.get(), reinterpret_cast<sockaddr*>(&to_), sizeof to_); }
  ssize_t send_unconnected(const base::Fd& fd) {
    return sendto(fd.get(), "quic", 4, 0, reinterpret_cast<sockaddr*>(&to_), sizeof to_);
  }
  sockaddr_in to_{};
};

TEST_F(Datagrams, ToPort443AreCounted) {
  const base::Fd connected = udp(), unconnected = udp(), other = udp(), receiver = udp();
  const int reuse = 1;
  setsockopt(receiver.get(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
  ASSERT_EQ(bind(receiver.get(), reinterpret_cast<sockaddr*>(&to_), sizeof to_), 0);
  ASSERT_EQ(connect_to(connected), 0);
  ASSERT_EQ(send(connected.get(), "quic", 4, 0), 4);
  ASSERT_EQ(send_unconnected(unconnected), 4);
  to_.sin_port = htons(9);
  ASSERT_EQ(send_unconnected(other), 4);
  const auto found = gate_->datagrams();
  ASSERT_EQ(found.size(), 2u);
  for (const gate::Datagrams& d : found) {
    EXPECT_EQ(d.value.sent_bytes, 4u);
    EXPECT_EQ(d.value.refused, 0u);
    EXPECT_EQ(d.value.remote_port, 443);
    EXPECT_EQ(d.value.tgid, static_cast<std::uint32_t>(getpid()));
  }
}

TEST_F(Datagrams, AreRefusedInGatedScopesAlsoOnSocketsOfBefore) {
  const base::Fd before = udp(), connected = udp(), unconnected = udp();
  ASSERT_EQ(connect_to(before), 0);
  enforce();
  EXPECT_EQ(connect_to(connected), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(send_unconnected(unconnected), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(send(before.get(), "quic", 4, 0), -1);
  EXPECT_EQ(errno, EPERM);
  std::uint32_t refused = 0;
  for (const gate::Datagrams& d : gate_->datagrams()) {
    EXPECT_EQ(d.value.sent_bytes, 0u);
    refused += d.value.refused;
  }
  EXPECT_EQ(refused, 2u);  // a connect moves nothing
}

}  // namespace
}  // namespace penstock
