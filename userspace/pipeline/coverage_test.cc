// What is seen of the traffic to AI endpoints, and what is not: ClientHellos and TCP's counters against plaintext.
#include "parsers/wire/tls_hello/testing.h"
#include "userspace/pipeline/test_rig.h"

namespace penstock::pipeline {
namespace {

namespace tls = parsers::wire::tls_hello::testing;

class FakeTls final : public TlsKnowledge {
 public:
  struct Process {
    std::string runtime;
    std::optional<Unseen> reason;
  };
  std::map<std::uint32_t, Process> processes;
  std::string runtime_of(std::uint32_t pid) override { return processes[pid].runtime; }
  std::optional<Unseen> reason_of(std::uint32_t pid) override { return processes[pid].reason; }
};

class CoverageTest : public PipelineTest {
 protected:
  CoverageTest() {
    tls_knowledge_ = &tls_;
    start();
  }

  // A connection of process `tgid` begins: its ClientHello, then the end of its handshake.
  std::uint64_t hello(std::uint32_t tgid, const std::string& extensions, std::uint16_t flags = 0,
                      std::array<std::uint8_t, 4> to = {192, 0, 2, 1}) {
    const std::uint64_t cookie = ++last_cookie_;
    const std::string bytes = tls::record(0x16, tls::client_hello(extensions)) + tls::record(0x14, "\x01") +
                              tls::record(0x17, std::string(69, 'f'));
    handshake_bytes_ = bytes.size();
    send(tgid, cookie, 0, bytes, flags, to);
    return cookie;
  }

  void send(std::uint32_t tgid, std::uint64_t cookie, std::size_t pos, const std::string& bytes,
            std::uint16_t flags = 0, std::array<std::uint8_t, 4> to = {192, 0, 2, 1}) {
    synthetic::Task task;
    task.tgid = tgid;
    pn_ev_hello event{};
    event.hdr = synthetic::header(PN_EV_hello, task, clock_.boot_ns(), sizeof event + bytes.size());
    event.cookie = cookie;
    event.family = 2;
    event.remote_port = 443;
    std::copy(to.begin(), to.end(), event.remote_addr);
    event.flags = flags;
    event.pos = static_cast<std::uint32_t>(pos);
    event.len = static_cast<std::uint32_t>(bytes.size());
    pipeline_->on_hello(event, synthetic::bytes_of(bytes));
  }

  void moved(std::uint64_t cookie, std::uint64_t sent, std::uint64_t received, bool kernel_tls = false) {
    kernel_.wire[cookie] = {handshake_bytes_ + sent, received, kernel_tls};
  }

  void end(std::uint64_t cookie) {
    pn_ev_wire_end event{};
    event.cookie = cookie;
    event.sent_bytes = kernel_.wire[cookie].sent;
    event.received_bytes = kernel_.wire[cookie].received;
    kernel_.wire.erase(cookie);
    pipeline_->on_wire_end(event);
  }

  std::vector<const Talk*> talks() {
    pipeline_->coverage().refresh();
    return pipeline_->coverage().talks();
  }
  const Talk& only() {
    const auto all = talks();
    EXPECT_EQ(all.size(), 1u);
    static const Talk kNone;
    return all.empty() ? kNone : *all.front();
  }
  static std::string state(const Talk& talk) {
    return std::string(name(talk.state())) + (talk.reason ? " " + std::string(name(*talk.reason)) : "");
  }

  FakeTls tls_;
  std::uint64_t last_cookie_ = 0;
  std::uint64_t handshake_bytes_ = 0;
};

TEST_F(CoverageTest, ANamedEndpointThatNobodyReadsIsOpaque) {
  const std::uint64_t c = hello(7, tls::server_name("api.openai.com") + tls::alpn({"h2", "http/1.1"}));
  moved(c, 0, 4000);
  EXPECT_EQ(state(only()), "pending");  // a handshake says nothing yet
  moved(c, 2000, 6000);
  EXPECT_EQ(state(only()), "opaque unknown_tls");
  EXPECT_EQ(only().target, "api.openai.com");
  EXPECT_EQ(only().provider, "openai");
  EXPECT_EQ(only().alpn, "h2,http/1.1");
  EXPECT_EQ(only().subject.agent, "agent-7");
  EXPECT_NEAR(static_cast<double>(only().opaque_bytes), 8000, 200);
  EXPECT_EQ(only().opaque_connections, 1u);
  end(c);
  EXPECT_NEAR(static_cast<double>(only().opaque_bytes), 8000, 200);  // and stays
  const auto& meters = pipeline_->coverage().opaque();
  ASSERT_EQ(meters.size(), 1u);
  EXPECT_EQ(std::get<2>(meters.begin()->first), "unknown_tls");
  EXPECT_EQ(meters.begin()->second.bytes, only().opaque_bytes);
  EXPECT_EQ(meters.begin()->second.connections, 1u);
}

TEST_F(CoverageTest, WhatIsReadIsCovered) {
  tls_.processes[7].runtime = "openssl";
  const std::uint64_t c = kernel_.connect(7);
  last_cookie_ = c - 1;
  ASSERT_EQ(hello(7, tls::server_name("api.openai.com")), c);
  const std::string request = chat_request("gpt-4o-mini", 10);
  kernel_.write(c, request);
  kernel_.answer(c, chat_answer("gpt-4o-mini", 3, 4));
  moved(c, request.size() + 22, 5000);
  EXPECT_EQ(state(only()), "covered");
  EXPECT_EQ(only().runtime, "openssl");
  EXPECT_EQ(only().plaintext_bytes, request.size() + chat_answer("gpt-4o-mini", 3, 4).size());
  moved(c, request.size() + 22 + 9000, 5000);  // and then something else
  EXPECT_EQ(state(only()), "partial bypassed");
  kernel_.close(c);
  end(c);
  EXPECT_EQ(only().connections, 1u);
  EXPECT_EQ(only().plaintext_bytes, request.size() + chat_answer("gpt-4o-mini", 3, 4).size());
}

TEST_F(CoverageTest, OtherServersAreNobodysBusiness) {
  const std::uint64_t c = hello(7, tls::server_name("www.example.com"));
  moved(c, 20'000, 20'000);
  EXPECT_TRUE(talks().empty());
  end(c);
  EXPECT_TRUE(talks().empty());
}

TEST_F(CoverageTest, ServersOfTheConfigurationAreKnownByNameAndByAddress) {
  pipeline_->set_endpoints(std::make_shared<const std::map<std::string, std::string>>(
                               std::map<std::string, std::string>{{"llm.corp", "openai"}}),
                           {{"192.0.2.9:443", "anthropic"}}, {});
  moved(hello(7, tls::server_name("llm.corp")), 900, 900);
  EXPECT_EQ(only().provider, "openai");
  moved(hello(8, "", 0, {192, 0, 2, 9}), 900, 900);
  ASSERT_EQ(talks().size(), 2u);
  EXPECT_EQ(talks()[1]->provider, "anthropic");
  EXPECT_EQ(talks()[1]->target, "192.0.2.9:443");
}

TEST_F(CoverageTest, HiddenNamesOfGovernedProcessesAreShown) {
  const std::string ech = tls::extension(0xfe0d, std::string(100, 'e')) + tls::server_name("front.example");
  moved(hello(7, ech), 900, 900);
  EXPECT_TRUE(talks().empty());  // of somebody that no policy speaks of
  apply("kind: Policy\nname: p\nmatch: { agent: agent-7 }\nmode: enforce\nrules:\n  - { deny: { model: \"o1\" } }\n");
  moved(hello(7, ech), 900, 900);
  EXPECT_EQ(state(only()), "opaque ech");
  EXPECT_TRUE(only().ech);
  moved(hello(7, ""), 900, 900);
  EXPECT_EQ(talks().size(), 2u);
}

TEST_F(CoverageTest, Reasons) {
  const std::string openai = tls::server_name("api.openai.com");
  const struct {
    FakeTls::Process tls;
    std::uint16_t flags;
    bool kernel_tls;
    const char* expected;
  } cases[] = {
      {{"", Unseen::kJava}, 0, false, "opaque java"},
      {{"openssl", Unseen::kProbeRemoved}, 0, false, "opaque probe_removed"},
      {{"openssl", {}}, PN_HELLO_RING, false, "opaque foreign_send"},
      {{"openssl", {}}, 0, true, "opaque ktls"},
      {{"", Unseen::kNotExamined}, 0, false, "opaque not_examined"},
  };
  std::uint32_t pid = 100;
  for (const auto& c : cases) {
    tls_.processes[++pid] = c.tls;
    moved(hello(pid, openai, c.flags), 900, 900, c.kernel_tls);
    EXPECT_EQ(state(*talks().back()), c.expected);
    EXPECT_EQ(talks().back()->runtime, c.tls.runtime);
  }
}

TEST_F(CoverageTest, WhatIsNotExaminedYetIsAskedForAgain) {
  tls_.processes[7] = {"", Unseen::kNotExamined};
  moved(hello(7, tls::server_name("api.openai.com")), 900, 900);
  EXPECT_EQ(state(only()), "opaque not_examined");
  tls_.processes[7] = {"openssl", Unseen::kProbeRemoved};
  EXPECT_EQ(state(only()), "opaque probe_removed");
  EXPECT_EQ(only().runtime, "openssl");
}

TEST_F(CoverageTest, AHelloInSingleBytes) {
  const std::string bytes = tls::record(0x16, tls::client_hello(tls::server_name("api.anthropic.com")));
  for (std::size_t i = 0; i < bytes.size(); ++i) send(7, 5, i, bytes.substr(i, 1));
  kernel_.wire[5] = {bytes.size() + 3000, 10, false};
  EXPECT_EQ(state(only()), "opaque unknown_tls");
  EXPECT_EQ(only().provider, "anthropic");
}

TEST_F(CoverageTest, WhatIsRefusedIsNotOpaque) {
  apply("kind: Policy\nname: p\nmatch: { agent: agent-7 }\nmode: strict\n");
  const std::uint64_t c = kernel_.connect(7);
  last_cookie_ = c - 1;
  hello(7, tls::server_name("api.openai.com"));
  moved(c, 0, 3000);
  kernel_.write_opaque(c, "ciphertext");
  EXPECT_TRUE(conn(c).destroyed);
  end(c);
  EXPECT_EQ(state(only()), "refused unknown_tls");
  EXPECT_EQ(only().refused, 1u);
  EXPECT_EQ(only().opaque_bytes, 0u);
}

TEST_F(CoverageTest, EnforceWithOpaqueDenyRefusesWhatGoesToAiEndpointsOnly) {
  apply("kind: Policy\nname: p\nmatch: { agent: agent-7 }\nmode: enforce\nopaque: deny\n");
  for (const auto& [server, refused] : {std::pair{"api.openai.com", true}, {"www.example.com", false}}) {
    const std::uint64_t c = kernel_.connect(7);
    last_cookie_ = c - 1;
    hello(7, tls::server_name(server));
    kernel_.write_opaque(c, "ciphertext");
    EXPECT_EQ(conn(c).destroyed, refused) << server;
  }
}

TEST_F(CoverageTest, AKillSwitchActsAtTheClientHello) {
  ASSERT_TRUE(kill(agent("agent-7")));
  const std::uint64_t c = kernel_.connect(7), other = kernel_.connect(8);
  last_cookie_ = c - 1;
  hello(7, tls::server_name("api.openai.com"));
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_EQ(last().verdict.action, model::Action::kKill);
  EXPECT_EQ(last().host, "api.openai.com");
  hello(8, tls::server_name("api.openai.com"));
  EXPECT_FALSE(conn(other).destroyed);
}

TEST_F(CoverageTest, CiphertextOfTheKilledGoesAnywhereButToAiEndpoints) {
  const std::uint64_t c = kernel_.connect(7), other = kernel_.connect(7);
  last_cookie_ = c - 1;
  hello(7, tls::server_name("api.openai.com"));
  hello(7, tls::server_name("www.example.com"));
  subjects_.living = {7};
  ASSERT_TRUE(kill(agent("agent-7")));
  EXPECT_EQ(kernel_.scopes.at(kernel_.processes.at(7)).flags & PN_SCOPE_OPAQUE_ALLOW, 0U);
  kernel_.write_opaque(c, "ciphertext");
  kernel_.write_opaque(other, "ciphertext");
  EXPECT_TRUE(conn(c).destroyed);
  EXPECT_FALSE(conn(other).destroyed);
  EXPECT_EQ(received(other), "ciphertext");
}

TEST_F(CoverageTest, DatagramsToPort443AreQuic) {
  gate::Datagrams udp{1, {}};
  udp.value.family = 2;
  udp.value.remote_port = 443;
  udp.value.tgid = 7;
  kernel_.udp = {udp};
  EXPECT_TRUE(talks().empty());  // connected only: a resolver sorts addresses so
  kernel_.udp[0].value.sent_bytes = 3000;
  EXPECT_EQ(state(only()), "opaque quic");
  kernel_.udp[0].value.received_bytes = 1000;
  EXPECT_EQ(only().opaque_bytes, 4000u);
  kernel_.udp[0].value.refused = 2;
  EXPECT_EQ(only().refused, 2u);
  EXPECT_EQ(only().connections, 1u);
}

TEST_F(CoverageTest, MemoryIsBounded) {
  for (std::uint32_t i = 0; i < 40'000; ++i) hello(7, tls::server_name("www.example.com"));
  for (std::uint32_t i = 0; i < 6000; ++i) moved(hello(1000 + i, tls::server_name("api.openai.com")), 900, 0);
  EXPECT_LE(talks().size(), 4096u);
}

TEST_F(CoverageTest, AConnectionFromBeforeIsShownAndOnlyWhatItSaysFromNowOnCounts) {
  pipeline_->set_endpoints(
      std::make_shared<const std::map<std::string, std::string>>(std::map<std::string, std::string>{}),
      {{"192.0.2.1:443", "openai"}}, {});
  gate::SocketRef socket;
  socket.cookie = 77;
  socket.tgid = 7;
  socket.family = AF_INET6;  // as a socket for both families has it
  socket.remote_port = 443;
  socket.remote_addr = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1};
  kernel_.wire[77] = {5000, 9000, false};
  pipeline_->on_older_connection(socket);
  EXPECT_EQ(state(only()), "pending joined_late");
  EXPECT_EQ(only().target, "192.0.2.1:443");
  EXPECT_EQ(only().provider, "openai");

  kernel_.wire[77] = {25000, 10000, false};
  EXPECT_EQ(state(only()), "opaque joined_late");
  EXPECT_GT(only().opaque_bytes, 20000U);
  EXPECT_LE(only().opaque_bytes, 21000U);

  socket.cookie = 78;
  socket.remote_addr = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 2};
  pipeline_->on_older_connection(socket);
  EXPECT_EQ(only().connections, 1U);
}

}  // namespace
}  // namespace penstock::pipeline
