// Go's crypto/tls: start → act → compare, one act per promise of bpf/capture/go_tls.bpf.c. Functions in Go's calling
// convention stand for (*Conn).Write and Read: receiver, slice pointer and length in rax, rbx and rcx, the goroutine in
// r14 and in a word below the thread pointer, the flags as a stack check that passes leaves them.
#include <functional>

#include "tests/bpf/kernel_test.h"
#include "tests/bpf/own_image.h"

// What is called runs `inside`, as the real ones run their system calls, and returns its result in rax. Each function
// has one call site of its own: the address that it returns to tells it apart.
#define GO_FUNCTION(name)                                                                                            \
  asm(".text\n.globl " #name "\n.type " #name ", @function\n" #name                                                  \
      ":\n  nop\n  push %rbp\n  mov %rsp, %rbp\n  call penstock_go_inside\n  pop %rbp\n.globl " #name "_ret\n" #name \
      "_ret:\n  ret\n.globl call_" #name "\n.type call_" #name ", @function\ncall_" #name                            \
      ":\n  push %rbp\n  push %rbx\n  push %r12\n  push %r13\n  push %r14\n  mov %rdi, %rax\n  mov %rsi, %rbx\n"     \
      "  mov %rcx, %r14\n  mov %rdx, %rcx\n  mov $2, %r12d\n  cmp $1, %r12d\n  call " #name                          \
      "\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbx\n  pop %rbp\n  ret\n")
GO_FUNCTION(penstock_go_write);
GO_FUNCTION(penstock_go_read);
GO_FUNCTION(penstock_go_other);

extern "C" {
void penstock_go_write();
void penstock_go_read();
void penstock_go_read_ret();
long call_penstock_go_write(const void* conn, const void* buffer, std::size_t n, const void* g);
long call_penstock_go_read(const void* conn, const void* buffer, std::size_t n, const void* g);
long call_penstock_go_other(const void* conn, const void* buffer, std::size_t n, const void* g);

// Where the thread keeps its goroutine: right below the thread pointer, as in every program without libraries.
[[gnu::tls_model("local-exec")]] thread_local const void* penstock_go_current = nullptr;
static std::function<long()> inside;
long penstock_go_inside() { return inside(); }
}

namespace penstock {
namespace {

using testing_kernel::KernelTest;
using testing_kernel::record_of;
using testing_tls::Pair;

struct Goroutine {
  std::uint64_t lo = 0, hi = ~std::uint64_t{0} >> 8;  // its stack holds every address
};

// crypto/tls.Conn as far as it is looked at, right on a TCP connection.
struct GoConn {
  explicit GoConn(int fd) : descriptor(fd) {}
  GoConn(const GoConn&) = delete;
  const void* type = "net.TCPConn";
  const void* data = &net_fd;
  const void* net_fd = &lock;
  std::uint64_t lock = 0, semaphores = 0;
  std::int64_t descriptor;
};

class GoTls : public KernelTest {
 protected:
  void on_loaded() override {
    const auto site = [](void (*function)(), locators::CallShape shape) {
      return locators::ProbeSite{testing_kernel::file_offset(reinterpret_cast<const void*>(function)), true, 0, shape,
                                 "own"};
    };
    testing_kernel::attach_own(*kernel_, {site(&penstock_go_write, locators::CallShape::kGoWrite),
                                          site(&penstock_go_read, locators::CallShape::kGoRead),
                                          site(&penstock_go_read_ret, locators::CallShape::kGoReadReturn)});
  }
  void SetUp() override {
    KernelTest::SetUp();
    penstock_go_current = &g_;
  }

  using Call = long (*)(const void*, const void*, std::size_t, const void*);
  long call(Call function, const GoConn& conn, const std::string& buffer, std::function<long()> body) {
    inside = std::move(body);
    return function(&conn, buffer.data(), buffer.size(), &g_);
  }
  // A Write that sends what it made of the text, whole, on this socket.
  void write(const GoConn& conn, const Pair& pair, const std::string& text, Call function = call_penstock_go_write) {
    const std::string record = record_of(text + std::string(17, 's'));
    EXPECT_EQ(call(function, conn, text,
                   [&] { return send(pair.client_fd.get(), record.data(), record.size(), MSG_NOSIGNAL); }),
              static_cast<long>(record.size()));
  }
  bool sent(const Pair& pair, const std::string& text) {
    return wait_for([&] { return seen_.plaintext(pair.cookie, PN_TO_SERVER) == text; });
  }

  Goroutine g_;
};

TEST_F(GoTls, TiesAWriteToTheSendInsideIt) {
  Pair pair;
  const GoConn conn(pair.client_fd.get());
  write(conn, pair, "POST / HTTP/1.1");
  write(conn, pair, ", more");
  EXPECT_TRUE(sent(pair, "POST / HTTP/1.1, more"));
  ASSERT_EQ(seen_.binds.size(), 1u);
  EXPECT_EQ(seen_.binds.begin()->second.how, PN_BIND_NESTED);
}

TEST_F(GoTls, TheHandshakeInsideAWriteIsNotItsSend) {
  Pair pair;
  const GoConn conn(pair.client_fd.get());
  const std::string text = "request", hello("\x16\x03\x01\x00\x04hey!", 9),
                    record = record_of(text + std::string(17, 's'));
  enforce();
  call(call_penstock_go_write, conn, text, [&] {
    send(pair.client_fd.get(), hello.data(), hello.size(), MSG_NOSIGNAL);
    EXPECT_TRUE(pair.wait_arrival(10'000)) << "the handshake must not be held";
    return send(pair.client_fd.get(), record.data(), record.size(), MSG_NOSIGNAL);
  });
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 1; }));
  EXPECT_EQ(seen_.gates[0].what, PN_GATE_CLOSED);
  EXPECT_EQ(pair.arrived_bytes(), static_cast<int>(hello.size()));
}

TEST_F(GoTls, HoldsAWriteUntilItIsAdmitted) {
  Pair pair;
  const GoConn conn(pair.client_fd.get());
  enforce();
  write(conn, pair, "held request");
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 1; }));
  EXPECT_EQ(seen_.gates[0].cookie, pair.cookie);
  EXPECT_EQ(seen_.gates[0].len, 12u);
  EXPECT_TRUE(sent(pair, "held request"));
  EXPECT_EQ(pair.arrived_bytes(), 0);
  ASSERT_TRUE(gate_->admit(pair.cookie, 12, 0));
  ASSERT_TRUE(*gate_->push(ref(pair)));
  EXPECT_TRUE(pair.wait_arrival(10'000));
}

TEST_F(GoTls, TakesWhatAReadReports) {
  Pair pair;
  const GoConn conn(pair.client_fd.get());
  write(conn, pair, "request");
  std::string buffer(64, '\0');
  for (const std::string answer : {"HTTP/1.1 200 OK", ", the rest"}) {
    ASSERT_EQ(send(pair.server_fd.get(), answer.data(), answer.size(), 0), static_cast<ssize_t>(answer.size()));
    EXPECT_EQ(
        call(call_penstock_go_read, conn, buffer, [&] { return recv(pair.client_fd.get(), buffer.data(), 64, 0); }),
        static_cast<long>(answer.size()));
  }
  EXPECT_TRUE(wait_for([&] { return seen_.plaintext(pair.cookie, PN_TO_CLIENT) == "HTTP/1.1 200 OK, the rest"; }));
}

TEST_F(GoTls, AReadTiesAConnectionThatWasNotWrittenTo) {
  Pair pair;
  const GoConn conn(pair.client_fd.get());
  std::string buffer(64, '\0');
  ASSERT_EQ(send(pair.server_fd.get(), "event", 5, 0), 5);
  call(call_penstock_go_read, conn, buffer, [&] { return recv(pair.client_fd.get(), buffer.data(), 64, 0); });
  EXPECT_TRUE(wait_for([&] { return seen_.plaintext(pair.cookie, PN_TO_CLIENT) == "event"; }));
}

// Nothing tells when a Write ends: what the goroutine sends next is not its plaintext.
TEST_F(GoTls, AWriteThatSentNothingDoesNotLendItsPlaintext) {
  Pair lost, next;
  const GoConn conn(lost.client_fd.get()), other(next.client_fd.get());
  enforce();
  for (int deeper : {0, 1}) {
    seen_ = {};
    call(call_penstock_go_write, conn, "never sent", [] { return -1L; });
    const std::string finished = record_of(std::string(53, 'f'));
    if (deeper)  // from as deep a frame, by another way
      write(other, next, "not by Write", call_penstock_go_other);
    else
      ASSERT_EQ(send(next.client_fd.get(), finished.data(), finished.size(), 0), static_cast<ssize_t>(finished.size()));
    ASSERT_TRUE(wait_for([&] { return seen_.withdrawn.size() == 1; }));
    EXPECT_TRUE(seen_.binds.empty());
    EXPECT_TRUE(seen_.gates.empty());
    EXPECT_TRUE(next.wait_arrival(10'000));
  }
  write(other, next, "its own request");
  EXPECT_TRUE(sent(next, "its own request"));
}

TEST_F(GoTls, ASendOnAnotherDescriptorIsNotThatConnections) {
  Pair pair, log;
  const GoConn conn(pair.client_fd.get());
  write(conn, pair, "known to be plain TCP");
  const std::string record = record_of("a log line" + std::string(17, 's'));
  enforce();
  const std::string text = "request", mine = record_of(text + std::string(17, 's'));
  call(call_penstock_go_write, conn, text, [&] {
    send(log.client_fd.get(), record.data(), record.size(), MSG_NOSIGNAL);
    return send(pair.client_fd.get(), mine.data(), mine.size(), MSG_NOSIGNAL);
  });
  ASSERT_TRUE(wait_for([&] { return seen_.gates.size() == 1; }));
  EXPECT_EQ(seen_.gates[0].cookie, pair.cookie);
  EXPECT_TRUE(log.wait_arrival(10'000));
  for (const auto& [stream, bind] : seen_.binds) EXPECT_EQ(bind.cookie, pair.cookie);
}

}  // namespace
}  // namespace penstock
