// What the sandwich tests of the kernel programs share: loading, gating this process, and gathering what arrives.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "parsers/wire/tls_hello/tls_hello.h"
#include "tests/bpf/tls_peer.h"
#include "userspace/base/clock.h"
#include "userspace/capture/kernel.h"
#include "userspace/gate/kernel_gate.h"

namespace penstock::testing_kernel {

using testing_tls::Pair;

inline constexpr std::uint32_t kScope = 7;
inline constexpr std::uint64_t kSecond = 1'000'000'000;

// Keeps what arrives, by connection where there is one.
class Collector final : public capture::EventSink {
 public:
  struct Data {
    pn_ev_data event;
    std::string payload;
  };
  void on_data(const pn_ev_data& event, std::span<const std::uint8_t> payload) override {
    if (event.hdr.tgid != of_process) return;
    data.push_back({event, std::string(payload.begin(), payload.end())});
  }
  void on_bind(const pn_ev_bind& event) override { binds[event.stream] = event; }
  void on_gate(const pn_ev_gate& event) override { gates.push_back(event); }
  void on_withdraw(const pn_ev_withdraw& event) override { withdrawn.push_back(event); }
  void on_conn_close(const pn_ev_conn_close& event) override { closes.push_back(event); }
  void on_fork(const pn_ev_fork& event) override { forks.push_back(event); }
  void on_exec(const pn_ev_exec& event) override { execs.push_back(event); }
  void on_exit(const pn_ev_exit& event) override { exits.push_back(event); }
  void on_mmap(const pn_ev_mmap&) override {}
  void on_hello(const pn_ev_hello& event, std::span<const std::uint8_t> payload) override {
    hellos[event.cookie].push_back(event);
    beginnings[event.cookie].feed(event.pos, payload);
  }
  void on_moved(const pn_ev_moved&) override {}
  void on_wire_end(const pn_ev_wire_end& event) override { wire_ends[event.cookie] = event; }
  void on_malformed(std::span<const std::uint8_t>) override { ADD_FAILURE() << "malformed record"; }

  // The plaintext of one connection and direction, put together by position; '?' where bytes are missing.
  std::string plaintext(std::uint64_t cookie, pn_direction direction) const {
    std::string out;
    for (const Data& d : data) {
      const auto bind = binds.find(d.event.stream);
      const std::uint64_t owner = bind != binds.end() ? bind->second.cookie : d.event.cookie;
      if (owner != cookie || d.event.direction != direction) continue;
      if (d.event.pos > out.size()) out.append(d.event.pos - out.size(), '?');
      out.replace(d.event.pos, d.payload.size(), d.payload);
    }
    return out;
  }

  std::uint32_t of_process = static_cast<std::uint32_t>(getpid());
  std::vector<Data> data;
  std::map<std::uint64_t, pn_ev_bind> binds;
  std::vector<pn_ev_gate> gates;
  std::vector<pn_ev_withdraw> withdrawn;
  std::vector<pn_ev_conn_close> closes;
  std::vector<pn_ev_fork> forks;
  std::vector<pn_ev_exec> execs;
  std::vector<pn_ev_exit> exits;
  std::map<std::uint64_t, std::vector<pn_ev_hello>> hellos;  // by cookie, as are the next two
  std::map<std::uint64_t, parsers::wire::tls_hello::FirstBytes> beginnings;
  std::map<std::uint64_t, pn_ev_wire_end> wire_ends;
};

// Loads the programs for each test and takes them away after it; this process can be put into a gated scope.
class KernelTest : public testing::Test {
 protected:
  void SetUp() override { load({}); }
  void TearDown() override {
    if (gate_) {
      EXPECT_TRUE(gate_->clear_process_scope(static_cast<std::uint32_t>(getpid())));
    }
    if (kernel_) kernel_->unload();
  }

  capture::KernelOptions options() const {
    capture::KernelOptions o;
    o.bpffs_dir = "/sys/fs/bpf/penstock-test-" + std::to_string(getpid());
    o.events_ring_bytes = 8U << 20;
    o.verdicts_ring_bytes = 8U << 20;
    o.dead_after_ns = 3600 * kSecond;  // the "daemon" of these tests is alive unless a test says otherwise
    return o;
  }

  void load(std::function<void(capture::KernelOptions&)> change) {
    capture::KernelOptions o = options();
    if (change) change(o);
    auto kernel = capture::Kernel::load(o);
    ASSERT_TRUE(kernel) << kernel.error().message();
    kernel_ = std::move(*kernel);
    on_loaded();
    ASSERT_TRUE(kernel_->activate());
    gate_.emplace(kernel_->maps(), gate::KernelGate::Options{});
  }

  void enforce(std::uint32_t on_failure = PN_FAIL_HOLD_LAST, std::uint64_t deadline_ns = 60 * kSecond, __s64 lease = 0,
               std::uint32_t mode = PN_MODE_ENFORCE) {
    pn_scope_val scope{};
    scope.mode = mode;
    scope.on_failure = on_failure;
    scope.deadline_ns = deadline_ns;
    scope.lease_requests = lease;
    scope.lease_bytes = lease * 1'000'000;
    ASSERT_TRUE(gate_->set_scope(kScope, scope));
    ASSERT_TRUE(gate_->set_process_scope(static_cast<std::uint32_t>(getpid()), kScope));
  }

  // Polls until `done` or ten seconds have passed.
  bool wait_for(const std::function<bool()>& done) {
    const base::SystemClock clock;
    const std::uint64_t end = clock.boot_ns() + 10 * kSecond;
    while (!done()) {
      if (clock.boot_ns() > end) return false;
      auto n = kernel_->events().poll(seen_, 20, 1000);
      if (!n) return false;
    }
    return true;
  }

  static gate::SocketRef ref(const Pair& pair, int fd_hint = -1) {
    gate::SocketRef r;
    r.cookie = pair.cookie;
    r.tgid = static_cast<std::uint32_t>(getpid());
    r.fd_hint = fd_hint;
    r.family = AF_INET;
    r.local_port = pair.client_port;
    r.remote_port = pair.server_port;
    const std::uint32_t loopback = htonl(INADDR_LOOPBACK);
    std::memcpy(r.local_addr.data(), &loopback, 4);
    std::memcpy(r.remote_addr.data(), &loopback, 4);
    return r;
  }

  virtual void on_loaded() {}  // before the programs act

  std::unique_ptr<capture::Kernel> kernel_;
  std::optional<gate::KernelGate> gate_;
  Collector seen_;
};

}  // namespace penstock::testing_kernel
