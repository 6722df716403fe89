// Start → act → compare, one act per promise of bpf/capture and bpf/gate.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <thread>
#include <vector>

#include "tests/bpf/kernel_test.h"
#include "userspace/locators/core/analysis.h"
#include "userspace/locators/core/mapped_file.h"

namespace penstock {
namespace {

using testing_kernel::KernelTest;
using testing_kernel::kScope;
using testing_kernel::kSecond;
using testing_tls::Pair;

constexpr const char* kLibssl = "/usr/lib/x86_64-linux-gnu/libssl.so.3";
constexpr const char* kLibcrypto = "/usr/lib/x86_64-linux-gnu/libcrypto.so.3";

class TlsCalls : public KernelTest {
 protected:
  void on_loaded() override { attach(kLibssl); }

  static void find_plan(const std::string& path, locators::AttachPlan& plan) {
    base::Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    auto file = locators::MappedFile::map(fd.get());
    ASSERT_TRUE(file);
    auto image = locators::ElfImage::parse(file->bytes());
    ASSERT_TRUE(image);
    const auto analysis = locators::analyze(*image, locators::registry());
    ASSERT_EQ(analysis.plans.size(), 1u);
    plan = analysis.plans.front();
  }

  void attach(const char* library) {
    locators::AttachPlan plan;
    ASSERT_NO_FATAL_FAILURE(find_plan(library, plan));
    struct stat st {};
    ASSERT_EQ(stat(library, &st), 0);
    auto attached = kernel_->attach({library, st.st_dev, st.st_ino}, plan);
    ASSERT_TRUE(attached) << attached.error().message();
  }
};

TEST_F(TlsCalls, ADetachedImageLeavesNothingAndItsRowsServeOthers) {
  const auto count = [](const std::string& folder) {
    return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
  };
  const std::string links = options().bpffs_dir + "/links";
  const auto links_before = count(links);
  const auto fds_before = count("/proc/self/fd");
  // A copy, so that its probes are its own; more sites in all than the table has rows.
  const std::string copy = "/tmp/penstock-test-" + std::to_string(getpid()) + ".so";
  std::filesystem::copy_file(kLibssl, copy);
  struct stat st {};
  ASSERT_EQ(stat(copy.c_str(), &st), 0);
  const capture::Image image{copy, st.st_dev, st.st_ino};
  locators::AttachPlan plan;
  ASSERT_NO_FATAL_FAILURE(find_plan(copy, plan));
  while (plan.sites.size() <= PN_MAX_PROBES / 4) plan.sites.push_back(plan.sites.front());
  for (int round = 0; round < 3; ++round) {
    auto attached = kernel_->attach(image, plan);
    ASSERT_TRUE(attached) << attached.error().message();
    kernel_->detach(image);
  }
  kernel_->detach(image);  // has none any more
  EXPECT_EQ(kernel_->attached_images(), 1u);
  EXPECT_EQ(count(links), links_before);
  EXPECT_EQ(count("/proc/self/fd"), fds_before);
  std::filesystem::remove(copy);
  // The other image is probed as before.
  Pair pair;
  pair.handshake();
  pair.write("still seen");
  EXPECT_TRUE(wait_for([&] { return seen_.plaintext(pair.cookie, PN_TO_SERVER) == "still seen"; }));
}

TEST_F(TlsCalls, CallsOfAnIgnoredConnectionAreCountedAndNotCopied) {
  Pair pair;
  pair.handshake();
  pair.write("first, ");
  ASSERT_TRUE(wait_for([&] { return seen_.plaintext(pair.cookie, PN_TO_SERVER) == "first, "; }));
  ASSERT_TRUE(gate_->admit(pair.cookie, 0, PN_ADMIT_IGNORE));
  const auto ignored = [&] { return kernel_->read_counters().stats[PN_STAT_IGNORED_CALLS]; };
  const std::uint64_t before = ignored();
  for (int i = 0; i < 40; ++i) pair.write("nothing of interest");
  EXPECT_EQ(ignored() - before, 40u);
  ASSERT_TRUE(gate_->admit(pair.cookie, 0, 0));
  pair.write("seen again");
  EXPECT_TRUE(wait_for([&] { return seen_.plaintext(pair.cookie, PN_TO_SERVER) == "first, seen again"; }));
}

TEST_F(TlsCalls, AnIgnoredContextThatIsGivenAnotherConnectionIsNoticed) {
  Pair first, second;
  first.handshake();
  first.write("nothing of interest");
  ASSERT_TRUE(wait_for([&] { return !seen_.binds.empty(); }));
  ASSERT_TRUE(gate_->admit(first.cookie, 0, PN_ADMIT_IGNORE));
  std::swap(first.client, second.client);
  SSL_set_quiet_shutdown(second.client.get(), 1);
  SSL_shutdown(second.client.get());
  ASSERT_EQ(SSL_clear(second.client.get()), 1);
  second.handshake();
  for (int i = 0; i < 16; ++i) second.write("x");
  EXPECT_TRUE(wait_for([&] { return seen_.plaintext(second.cookie, PN_TO_SERVER).ends_with("x"); }));
}

TEST_F(TlsCalls, ObservesBothDirectionsAndNamesTheSocket) {
  Pair pair;
  pair.handshake();
  pair.write("POST /v1/messages HTTP/1.1\r\n\r\n");
  EXPECT_EQ(pair.server_read(30), "POST /v1/messages HTTP/1.1\r\n\r\n");
  SSL_write(pair.server.get(), "HTTP/1.1 200 OK\r\n\r\n", 19);
  char buffer[64];
  ASSERT_EQ(SSL_read(pair.client.get(), buffer, sizeof buffer), 19);
  pair.client_fd.reset();
  ASSERT_TRUE(wait_for([&] { return !seen_.closes.empty(); }));

  EXPECT_EQ(seen_.plaintext(pair.cookie, PN_TO_SERVER), "POST /v1/messages HTTP/1.1\r\n\r\n");
  EXPECT_EQ(seen_.plaintext(pair.cookie, PN_TO_CLIENT), "HTTP/1.1 200 OK\r\n\r\n");
  ASSERT_EQ(seen_.binds.size(), 1u) << "the accepting side must be ignored";
  const pn_ev_bind& bind = seen_.binds.begin()->second;
  EXPECT_EQ(bind.local_port, pair.client_port);
  EXPECT_EQ(bind.remote_port, pair.server_port);
  EXPECT_EQ(bind.how, PN_BIND_NESTED);
  EXPECT_EQ(bind.joined, 0);
  EXPECT_EQ(bind.remote_addr[0], 127);
  EXPECT_EQ(seen_.closes.front().cookie, pair.cookie);
  EXPECT_EQ(seen_.closes.front().to_server_bytes, 30u);
  EXPECT_EQ(seen_.closes.front().to_client_bytes, 19u);
}

TEST_F(TlsCalls, JoinsAConnectionOlderThanThePrograms) {
  kernel_->unload();
  Pair pair;
  pair.handshake();
  pair.write("before");
  load({});
  pair.write("after");
  ASSERT_TRUE(wait_for([&] { return seen_.plaintext(pair.cookie, PN_TO_SERVER) == "after"; }));
  EXPECT_EQ(seen_.binds.begin()->second.joined, 1);
}

TEST_F(TlsCalls, JoinsAMemoryBioConnectionAtItsAnswer) {
  kernel_->unload();
  Pair pair;
  pair.handshake(true);
  load({});
  for (const char* part : {"unbound, ", "bound"}) {  // the first read asks for receives to be noted
    SSL_write(pair.server.get(), part, static_cast<int>(strlen(part)));
    ASSERT_TRUE(pair.wait_answer(10'000));
    pair.feed();
    char buffer[64];
    ASSERT_GT(SSL_read(pair.client.get(), buffer, sizeof buffer), 0);
  }
  ASSERT_TRUE(wait_for([&] { return seen_.plaintext(pair.cookie, PN_TO_CLIENT) == "unbound, bound"; }));
  for (const auto& [stream, bind] :
       seen_.binds) {  // the accepting side is older than the programs too: not recognised as such
    if (bind.cookie == pair.cookie) {
      EXPECT_EQ(bind.how, PN_BIND_ADJACENT);
    }
  }
}

TEST_F(TlsCalls, TiesMemoryBioWritesToTheSendThatFollows) {
  Pair one, two;
  one.handshake(true);
  two.handshake(true);
  // Both contexts hold ciphertext; the sends come in the other order: the record lengths tell which is whose.
  one.write("first request");
  two.write("the second one, longer");
  two.pump();
  one.pump();
  ASSERT_TRUE(wait_for([&] { return seen_.binds.size() == 2; }));
  EXPECT_EQ(seen_.plaintext(one.cookie, PN_TO_SERVER), "first request");
  EXPECT_EQ(seen_.plaintext(two.cookie, PN_TO_SERVER), "the second one, longer");
  for (const auto& [stream, bind] : seen_.binds) EXPECT_EQ(bind.how, PN_BIND_LENGTH);
}

TEST_F(TlsCalls, TiesMemoryBioWritesByTheirCiphertext) {
  attach(kLibcrypto);
  Pair one, two;
  one.handshake(true);
  two.handshake(true);
  one.write("request of one");
  two.write("request of two");  // as long: only the ciphertext tells them apart
  two.pump();
  one.pump();
  ASSERT_TRUE(wait_for([&] { return seen_.binds.size() == 2; }));
  EXPECT_EQ(seen_.plaintext(one.cookie, PN_TO_SERVER), "request of one");
  EXPECT_EQ(seen_.plaintext(two.cookie, PN_TO_SERVER), "request of two");
  for (const auto& [stream, bind] : seen_.binds) EXPECT_EQ(bind.how, PN_BIND_PRINT);
}

TEST_F(TlsCalls, AWriteThatIsNeverSentDoesNotTakeTheNextOnesPlace) {
  for (const bool prints : {false, true}) {
    if (prints) attach(kLibcrypto);
    enforce();
    Pair lost, two;
    lost.handshake(true);
    two.handshake(true);
    lost.write("request of one");  // its connection is gone: the program throws the ciphertext away
    two.write("request of two");
    two.pump();
    ASSERT_TRUE(wait_for([&] { return !seen_.gates.empty(); }));
    EXPECT_EQ(seen_.gates.front().cookie, two.cookie);
    EXPECT_EQ(seen_.plaintext(two.cookie, PN_TO_SERVER), "request of two");
    seen_ = {};
  }
}

TEST_F(TlsCalls, CopiesMegabytesWhole) {
  Pair pair;
  pair.handshake();
  std::string body(4U << 20, 'x');
  for (std::size_t i = 0; i < body.size(); i += 4096) body.replace(i, 8, std::to_string(10'000'000 + i).substr(0, 8));
  std::thread reader([&] { EXPECT_EQ(pair.server_read(body.size()), body); });
  pair.write(body);
  reader.join();
  ASSERT_TRUE(wait_for([&] { return seen_.plaintext(pair.cookie, PN_TO_SERVER).size() == body.size(); }));
  EXPECT_EQ(seen_.plaintext(pair.cookie, PN_TO_SERVER), body);
}

TEST_F(TlsCalls, CountsWhatTheRingCouldNotTakeExactly) {
  kernel_->unload();
  load([](capture::KernelOptions& o) { o.events_ring_bytes = 64U << 10; });
  const capture::KernelSnapshot before = kernel_->read_counters();
  Pair pair;
  pair.handshake();
  constexpr std::size_t kWrites = 200, kBytes = 1000;
  std::thread reader([&] { pair.server_read(kWrites * kBytes); });
  for (std::size_t i = 0; i < kWrites; ++i) pair.write(std::string(kBytes, static_cast<char>('a' + i % 26)));
  reader.join();
  ASSERT_TRUE(wait_for([&] { return !seen_.binds.empty() && kernel_->read_counters().events_ring_bytes == 0; }));
  const capture::KernelSnapshot after = kernel_->read_counters();
  const auto& b = before.loss[PN_EV_data];
  const auto& a = after.loss[PN_EV_data];
  const std::uint64_t lost = a.lost_ring_bytes - b.lost_ring_bytes;
  EXPECT_GT(lost, 0u) << "the ring was meant to be too small";
  EXPECT_EQ(a.sent_bytes - b.sent_bytes + lost, kWrites * kBytes);
  // And the stream shows where: positions go on over the gap.
  std::size_t captured = 0;
  for (const auto& d : seen_.data) captured += d.payload.size();
  EXPECT_EQ(captured + lost, kWrites * kBytes);
}

TEST_F(TlsCalls, HoldsAWriteUntilItIsAdmitted) {
  Pair pair;
  pair.handshake();
  enforce();
  pair.write("held request");  // returns: the bytes are in the socket's own queue
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 1; }));
  const pn_ev_gate gate = seen_.gates.front();
  EXPECT_EQ(gate.what, PN_GATE_CLOSED);
  EXPECT_EQ(gate.cookie, pair.cookie);
  EXPECT_EQ(gate.fd, pair.client_fd.get());
  EXPECT_EQ(gate.scope, kScope);
  EXPECT_EQ(seen_.plaintext(pair.cookie, PN_TO_SERVER), "held request");
  EXPECT_EQ(pair.arrived_bytes(), 0);
  EXPECT_EQ(gate_->held().size(), 1u);

  ASSERT_TRUE(gate_->admit(pair.cookie, gate.pos + gate.len, 0));
  EXPECT_TRUE(gate_->held().empty());
  auto pushed = gate_->push(ref(pair, gate.fd));
  ASSERT_TRUE(pushed) << pushed.error().message();
  EXPECT_TRUE(*pushed);
  EXPECT_EQ(pair.server_read(12), "held request");

  pair.write("the next one");  // beyond the admitted position: held again
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 2; }));
  EXPECT_EQ(seen_.gates.back().what, PN_GATE_CLOSED);
  EXPECT_EQ(pair.arrived_bytes(), 0);
}

TEST_F(TlsCalls, AdmitsByPositionNotByCall) {
  Pair pair;
  pair.handshake();
  enforce();
  pair.write("head,");
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 1; }));
  pair.write("middle,");  // queues behind
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 2; }));
  EXPECT_EQ(seen_.gates[1].what, PN_GATE_BEHIND);
  ASSERT_TRUE(gate_->admit(pair.cookie, 16, 0));  // the whole request of 16 bytes, of which 12 are written
  ASSERT_TRUE(gate_->push(ref(pair)));
  pair.write("tail");
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 3; }));
  EXPECT_EQ(seen_.gates[2].what, PN_GATE_ADMITTED);
  EXPECT_EQ(pair.server_read(16), "head,middle,tail");
}

// TCP may put several queued writes into one segment; an admitted write then waits for its neighbours in it.
TEST_F(TlsCalls, AnAdmissionReleasesNothingThatWasQueuedBehindIt) {
  Pair pair;
  pair.handshake();
  enforce();
  constexpr std::size_t kRequests = 12;  // more than the kernel keeps boundaries for
  constexpr int kRecordBytes = 7 + 22;
  for (std::size_t i = 0; i < kRequests; ++i) pair.write("request");
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == kRequests; }));
  for (std::size_t i = 1; i < kRequests; ++i) {
    ASSERT_TRUE(gate_->admit(pair.cookie, i * 7, 0));
    ASSERT_TRUE(*gate_->push(ref(pair)));
    EXPECT_LE(pair.arrived_bytes(), static_cast<int>(i) * kRecordBytes);
    ASSERT_EQ(gate_->held().size(), 1u);
    EXPECT_EQ(gate_->held()[0].gate.hold_pos, std::min<std::uint64_t>(i, PN_HOLDS - 1) * 7);
  }
  ASSERT_TRUE(gate_->admit(pair.cookie, kRequests * 7, 0));
  ASSERT_TRUE(*gate_->push(ref(pair)));
  EXPECT_EQ(pair.server_read(kRequests * 7).size(), kRequests * 7);
  EXPECT_TRUE(gate_->held().empty());
}

TEST_F(TlsCalls, HoldsAMemoryBioWriteToo) {
  Pair pair;
  pair.handshake(true);
  enforce();
  pair.write("encrypted in memory");
  pair.pump();
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 1; }));
  EXPECT_EQ(seen_.gates[0].what, PN_GATE_CLOSED);
  EXPECT_EQ(pair.arrived_bytes(), 0);
  ASSERT_TRUE(gate_->admit(pair.cookie, 19, 0));
  ASSERT_TRUE(*gate_->push(ref(pair)));
  EXPECT_EQ(pair.server_read(19), "encrypted in memory");
}

TEST_F(TlsCalls, WithdrawsAWriteThatEncryptedNothing) {
  Pair pair;
  enforce();
  SSL_set_bio(pair.client.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  std::size_t written = 0;
  EXPECT_NE(SSL_write_ex(pair.client.get(), "early", 5, &written), 1);  // the handshake has not been done
  ASSERT_TRUE(wait_for([&] { return seen_.withdrawn.size() == 1; }));
  EXPECT_EQ(seen_.withdrawn[0].pos, 0u);
  pair.pump();
  EXPECT_TRUE(pair.wait_arrival(10'000)) << "the handshake itself must not be held";
  EXPECT_TRUE(seen_.gates.empty());
}

TEST_F(TlsCalls, ARequestLargerThanTheSendBufferShowsItselfWhole) {
  Pair pair;
  pair.handshake();
  enforce();
  const std::string body(1U << 20, 'b');
  std::thread writer([&] { pair.write(body); });  // blocks: the send buffer is smaller
  ASSERT_TRUE(wait_for([&] { return !seen_.gates.empty(); }));
  EXPECT_EQ(seen_.gates.front().len, body.size());
  EXPECT_EQ(seen_.plaintext(pair.cookie, PN_TO_SERVER).size(), body.size());
  EXPECT_EQ(pair.arrived_bytes(), 0);
  ASSERT_TRUE(gate_->admit(pair.cookie, body.size(), 0));
  ASSERT_TRUE(*gate_->push(ref(pair, seen_.gates.front().fd)));
  EXPECT_EQ(pair.server_read(body.size()), body);
  writer.join();
  ASSERT_TRUE(wait_for([&] { return true; }));
  EXPECT_EQ(seen_.gates.size(), 1u) << "one intent, however many records and sends";
}

TEST_F(TlsCalls, ABiggerSendBufferShowsTheBodyOfAChunkedWriter) {
  Pair pair;
  pair.handshake();
  enforce();
  const std::string chunk(64U << 10, 'c');
  constexpr int kChunks = 16;
  std::thread writer([&] {
    for (int i = 0; i < kChunks; ++i) pair.write(chunk);
  });
  ASSERT_TRUE(wait_for([&] { return !seen_.gates.empty(); }));
  auto grown = gate_->grow_send_buffer(ref(pair, seen_.gates.front().fd), 4U << 20);
  ASSERT_TRUE(grown) << grown.error().message();
  ASSERT_TRUE(*grown);
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == kChunks; }));
  EXPECT_EQ(pair.arrived_bytes(), 0);
  writer.join();
  ASSERT_TRUE(gate_->admit(pair.cookie, kChunks * chunk.size(), 0));
  ASSERT_TRUE(*gate_->push(ref(pair)));
  EXPECT_EQ(pair.server_read(kChunks * chunk.size()).size(), kChunks * chunk.size());
}

TEST_F(TlsCalls, DestroyGivesTheProgramAnErrorAndThePeerNothing) {
  Pair pair;
  pair.handshake();
  enforce();
  pair.write("denied");
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 1; }));
  auto destroyed = gate_->destroy(ref(pair));
  ASSERT_TRUE(destroyed) << destroyed.error().message();
  EXPECT_TRUE(*destroyed);
  char byte = 0;
  EXPECT_EQ(recv(pair.client_fd.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNABORTED);
  EXPECT_EQ(recv(pair.server_fd.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
  ASSERT_TRUE(wait_for([&] { return seen_.closes.size() == 1; }));
  EXPECT_TRUE(gate_->connections().empty());
  auto again = gate_->destroy(ref(pair));
  ASSERT_TRUE(again);
  EXPECT_FALSE(*again);
}

TEST_F(TlsCalls, AnAbsentDaemonAppliesOnFailure) {
  const auto away = [&] { gate_->heartbeat(1); };
  const auto attempt = [&](std::uint32_t on_failure, std::uint64_t deadline_ns, __s64 lease) {
    kernel_->unload();
    load([](capture::KernelOptions& o) { o.dead_after_ns = kSecond; });
    enforce(on_failure, deadline_ns, lease);
    away();
    auto pair = std::make_unique<Pair>();
    pair->handshake();
    pair->write("nobody decides");
    return pair;
  };
  // open: passes while the lease lasts, not one request more. What is written before an answer came is the same
  // request.
  auto pair = attempt(PN_FAIL_OPEN, 60 * kSecond, 1);
  pair->write(" on its body");
  EXPECT_EQ(pair->server_read(26), "nobody decides on its body");
  char answer[8];
  SSL_write(pair->server.get(), "answer", 6);
  ASSERT_EQ(SSL_read(pair->client.get(), answer, sizeof answer), 6);
  pair->write("past the lease");
  ASSERT_TRUE(wait_for([&] { return kernel_->read_counters().stats[PN_STAT_EXPIRED_CLOSED] == 1; }));
  EXPECT_EQ(pair->arrived_bytes(), 0);
  // closed: refused at once, without a deadline.
  pair = attempt(PN_FAIL_CLOSED, 60 * kSecond, 100);
  EXPECT_EQ(kernel_->read_counters().stats[PN_STAT_EXPIRED_CLOSED], 1u);
  EXPECT_EQ(pair->arrived_bytes(), 0);
  // hold-last: held, and after the deadline still not sent.
  pair = attempt(PN_FAIL_HOLD_LAST, 1, 100);
  ASSERT_TRUE(wait_for([&] { return kernel_->read_counters().stats[PN_STAT_EXPIRED_CLOSED] == 1; }));
  EXPECT_EQ(pair->arrived_bytes(), 0);
}

TEST_F(TlsCalls, HeldAcrossAnUpgradeAndReleasedByTheSuccessor) {
  Pair pair;
  pair.handshake();
  enforce();
  pair.write("held by the predecessor");
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 1; }));
  gate_.reset();
  kernel_.reset();  // pins stay
  EXPECT_EQ(pair.arrived_bytes(), 0);
  load({});
  EXPECT_TRUE(kernel_->resumed());
  ASSERT_EQ(gate_->held().size(), 1u);
  EXPECT_EQ(gate_->held()[0].cookie, pair.cookie);
  EXPECT_EQ(gate_->held()[0].socket.local_port, pair.client_port);
  ASSERT_TRUE(gate_->admit(pair.cookie, 23, 0));
  ASSERT_TRUE(*gate_->push(ref(pair)));
  EXPECT_EQ(pair.server_read(23), "held by the predecessor");
  pair.write("seen once, by the successor");
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 2; }));
  EXPECT_EQ(seen_.gates.back().pos, 23u);
  EXPECT_EQ(kernel_->read_counters().stats[PN_STAT_GATE_CLOSED], 2u) << "two generations of programs acted";
}

TEST_F(TlsCalls, BlockedScopesCannotConnectToKnownEndpoints) {
  Pair pair;
  pn_scope_val scope{};
  scope.flags = PN_SCOPE_BLOCK_ENDPOINTS;
  ASSERT_TRUE(gate_->set_scope(kScope, scope));
  ASSERT_TRUE(gate_->set_process_scope(static_cast<std::uint32_t>(getpid()), kScope));
  base::Fd listener(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(listener.get(), 4), 0);
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length);
  const auto try_connect = [&] {
    base::Fd s(socket(AF_INET, SOCK_STREAM, 0));
    return connect(s.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
  };
  EXPECT_EQ(try_connect(), 0) << "not an AI endpoint";
  pn_endpoint_key endpoint{};
  std::memcpy(endpoint.addr, &address.sin_addr, 4);
  endpoint.port = ntohs(address.sin_port);
  endpoint.family = AF_INET;
  ASSERT_TRUE(gate_->add_endpoint(endpoint));
  EXPECT_EQ(try_connect(), EPERM);
  ASSERT_TRUE(gate_->clear_process_scope(static_cast<std::uint32_t>(getpid())));
  EXPECT_EQ(try_connect(), 0);
}

// As any TLS library that is not probed would send: a handshake record, then application data nobody saw the plaintext
// of.
TEST_F(TlsCalls, StrictHoldsCiphertextThatNoPlaintextExplains) {
  enforce(PN_FAIL_HOLD_LAST, 60 * kSecond, 0, PN_MODE_STRICT);
  Pair pair;
  const std::string hello = std::string("\x16\x03\x01\x00\x40", 5) + std::string(64, 'h');
  const std::string secret = std::string("\x17\x03\x03\x04\x00", 5) + std::string(1024, 's');
  ASSERT_EQ(send(pair.client_fd.get(), hello.data(), hello.size(), 0), static_cast<ssize_t>(hello.size()));
  ASSERT_TRUE(pair.wait_arrival(10'000));
  ASSERT_EQ(send(pair.client_fd.get(), secret.data(), secret.size(), 0), static_cast<ssize_t>(secret.size()));
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 1; }));
  EXPECT_EQ(seen_.gates[0].what, PN_GATE_OPAQUE);
  EXPECT_EQ(seen_.binds.at(seen_.gates[0].stream).local_port, pair.client_port);
  EXPECT_EQ(pair.arrived_bytes(), static_cast<int>(hello.size()));
  ASSERT_TRUE(gate_->admit(pair.cookie, 1'000'000, 0));  // a position does not open it
  ASSERT_TRUE(*gate_->push(ref(pair)));
  EXPECT_EQ(pair.arrived_bytes(), static_cast<int>(hello.size()));
  ASSERT_TRUE(gate_->admit(pair.cookie, PN_ADMIT_ALL, 0));
  ASSERT_TRUE(*gate_->push(ref(pair)));
  std::string arrived(hello.size() + secret.size(), '\0');
  EXPECT_EQ(recv(pair.server_fd.get(), arrived.data(), arrived.size(), MSG_WAITALL),
            static_cast<ssize_t>(arrived.size()));
  EXPECT_EQ(arrived, hello + secret);
}

TEST_F(TlsCalls, StrictLetsExplainedTrafficBe) {
  enforce(PN_FAIL_HOLD_LAST, 60 * kSecond, 0, PN_MODE_STRICT);
  for (const bool memory_bio : {false, true}) {
    Pair pair;
    pair.handshake(memory_bio);
    std::size_t total = 0;
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{100}, std::size_t{16384}, std::size_t{100'000}}) {
      total += bytes;
      ASSERT_TRUE(gate_->admit(pair.cookie, total, 0));
      std::thread reader([&] { EXPECT_EQ(pair.server_read(bytes).size(), bytes); });
      pair.write(std::string(bytes, 'x'));
      if (memory_bio) pair.pump();
      reader.join();
    }
  }
  EXPECT_EQ(kernel_->read_counters().stats[PN_STAT_OPAQUE_HELD], 0u);
}

TEST_F(TlsCalls, ChildrenInheritTheScopeAndAreReported) {
  enforce();
  const pid_t child = fork();
  if (child == 0) {
    execl("/bin/true", "true", nullptr);
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  const auto about_child = [&](const auto& events) {
    return std::any_of(events.begin(), events.end(),
                       [&](const auto& e) { return e.hdr.tgid == static_cast<std::uint32_t>(child); });
  };
  ASSERT_TRUE(wait_for([&] { return about_child(seen_.exits); }));
  EXPECT_TRUE(about_child(seen_.execs));
  const auto fork_event = std::find_if(seen_.forks.begin(), seen_.forks.end(), [&](const pn_ev_fork& e) {
    return e.child_tgid == static_cast<std::uint32_t>(child);
  });
  ASSERT_NE(fork_event, seen_.forks.end());
  EXPECT_EQ(fork_event->scope, kScope);
}

}  // namespace
}  // namespace penstock
