#include "userspace/api/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>

#include "userspace/api/client.h"
#include "userspace/api/testing/fake_control.h"
#include "userspace/api/testing/raw_client.h"

namespace penstock::api {
namespace {

using testing::FakeControl;
using ::testing::HasSubstr;
using testing::PipelineThread;
using testing::RawClient;
using ::testing::StartsWith;

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    char folder[] = "/tmp/penstock-server-XXXXXX";
    folder_ = ::mkdtemp(folder);
    options_.socket = folder_ + "/s";
    options_.tcp_listen = "127.0.0.1:0";
  }
  ~ServerTest() override {
    pipeline_.pause(false);
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  void start() {
    Pages pages;
    pages.metrics = [] { return [] { return Page{200, "text/plain; version=0.0.4", "up 1\n"}; }; };
    pages.healthz = pages.readyz = [] { return [] { return Page{200, "text/plain", "ok\n"}; }; };
    auto server = Server::start(
        options_, [this](auto work) { pipeline_.post(std::move(work)); }, control_, std::move(pages));
    ASSERT_TRUE(server) << server.error().message();
    server_ = std::move(*server);
  }
  RawClient connect() { return RawClient::unix_socket(options_.socket); }
  std::string get(const std::string& path) { return connect().get(path); }

  std::string folder_;
  Server::Options options_;
  FakeControl control_;
  PipelineThread pipeline_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, AnswersJson) {
  control_.answers["GetStatus"] = R"({"version":"1.2","ready":true})";
  start();
  const std::string answer = get("/v1/status");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: application/json\r\n"));
  EXPECT_THAT(answer, HasSubstr(R"({"version":"1.2",)"));
  EXPECT_EQ(control_.last_peer.uid, ::geteuid());
  EXPECT_EQ(control_.last_peer.pid, ::getpid());
}

TEST_F(ServerTest, SocketIsForOwnerAndGroup) {
  start();
  struct stat st {};
  ASSERT_EQ(::stat(options_.socket.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777u, 0660u);
  server_.reset();
  EXPECT_NE(::stat(options_.socket.c_str(), &st), 0);
}

TEST_F(ServerTest, ReadsPathQueryAndBody) {
  start();
  get("/v1/runs/a%2Fb%2012");
  get("/v1/agents?selector.agent=x%20y+z");
  auto client = connect();
  client.send(
      "POST /v1/kill HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
      "47\r\n\r\n{\"selector\":{\"agent\":\"a\"},");
  client.send("\"reason\":\"runaway!!\"}");
  EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 200"));
  ASSERT_EQ(control_.calls.size(), 3u);
  EXPECT_EQ(control_.calls[0].second, R"({"run":"a/b 12"})");
  EXPECT_EQ(control_.calls[1].second, R"({"selector":{"agent":"x y z"}})");
  EXPECT_EQ(control_.calls[2].second,
            R"({"selector":{"agent":"a"},"reason":"runaway!!","freeze":false,"sigkill":false})");
}

TEST_F(ServerTest, ErrorsCarryTheExitCode) {
  control_.errors["GetRun"] = base::Error{base::ErrorCode::kNotFound, 0, "no run \"x\"", "see `penstock agents`"};
  start();
  const std::string answer = get("/v1/runs/x");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(answer, HasSubstr(R"({"error":{"code":6,"what":"no run \"x\"","hint":"see `penstock agents`"}})"));
  Client client(options_.socket);
  GetRunRequest request;
  request.set_run("x");
  auto run = client.call<RunSummary>(request);
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().code, base::ErrorCode::kNotFound);
  EXPECT_EQ(run.error().what, "no run \"x\"");
  EXPECT_EQ(run.error().hint, "see `penstock agents`");
}

TEST_F(ServerTest, AsksBeforeEveryCall) {
  control_.forbidden = "Kill";
  start();
  Client client(options_.socket);
  auto refused = client.call<KillResponse>(KillRequest());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, base::ErrorCode::kPrivilege);
  EXPECT_TRUE(control_.calls.empty());
  EXPECT_TRUE(client.call<Status>(GetStatusRequest()));
}

TEST_F(ServerTest, RefusesWhatItDoesNotKnow) {
  start();
  EXPECT_THAT(get("/v1/nothing"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(get("/v1/agents?nope=1"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(get("/v1/kill"), StartsWith("HTTP/1.1 405"));
  auto client = connect();
  client.send("POST /v1/kill HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\n{x}");
  EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 400"));
  EXPECT_TRUE(control_.calls.empty());
}

TEST_F(ServerTest, ClientAndServerAgreeOnEveryRoute) {
  start();
  Client client(options_.socket);
  for (const auto* text : {"all", "agent=x/y z&?#%", "pid=3"}) {
    KillRequest request;
    auto selector = Selector();
    if (std::string_view(text) == "all")
      selector.set_all(true);
    else if (text[0] == 'p')
      selector.set_pid(3);
    else
      selector.set_agent("x/y z&?#%");
    *request.mutable_selector() = selector;
    request.set_reason("because");
    ASSERT_TRUE(client.call<KillResponse>(request));
    EXPECT_EQ(control_.calls.back().second, to_json(request));
    ListAgentsRequest list;
    *list.mutable_selector() = selector;
    ASSERT_TRUE(client.call<AgentList>(list));
    EXPECT_EQ(control_.calls.back().second, to_json(list));
  }
  RemovePolicyRequest remove;
  remove.set_name("a b/c");
  ASSERT_TRUE(client.call<PolicyList>(remove));
  EXPECT_EQ(control_.calls.back().second, to_json(remove));
}

TEST_F(ServerTest, ServesPagesOnBothListenersAndNothingElseOnTcp) {
  start();
  for (const char* page : {"/metrics", "/healthz", "/readyz"}) {
    EXPECT_THAT(get(page), StartsWith("HTTP/1.1 200")) << page;
    EXPECT_THAT(RawClient::loopback(server_->tcp_port()).get(page), StartsWith("HTTP/1.1 200")) << page;
  }
  EXPECT_THAT(RawClient::loopback(server_->tcp_port()).get("/v1/status"), StartsWith("HTTP/1.1 404"));
  EXPECT_TRUE(control_.calls.empty());
}

TEST_F(ServerTest, KeepsAConnection) {
  start();
  auto client = connect();
  for (int i = 0; i < 3; ++i) {
    client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(client.read_until("ok\n"), HasSubstr("200 OK"));
  }
}

TEST_F(ServerTest, APipelineThatDoesNotAnswerIs504AndUnhealthy) {
  options_.answer_timeout_ms = 50;
  start();
  pipeline_.pause(true);
  EXPECT_THAT(get("/v1/status"), StartsWith("HTTP/1.1 504"));
  EXPECT_THAT(RawClient::loopback(server_->tcp_port()).get("/healthz"), StartsWith("HTTP/1.1 504"));
  EXPECT_EQ(server_->counters().answer_timeouts, 2u);
  pipeline_.pause(false);  // the late answers find nobody
  pipeline_.call([] {});
}

TEST_F(ServerTest, StreamsLinesUntilTheClientLeaves) {
  start();
  auto client = connect();
  client.send("GET /v1/exchanges?follow=true HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.read_until("\r\n\r\n"), HasSubstr("application/x-ndjson"));
  for (std::uint64_t id = 1; id <= 3; ++id) {
    pipeline_.call([&] {
      model::Exchange x;
      x.id = id;
      control_.streams.publish(x);
    });
    EXPECT_THAT(client.read_until("\n"), ::testing::Not(::testing::IsEmpty()));  // size of the chunk
    EXPECT_THAT(client.read_until("}\n"), HasSubstr("\"id\":" + std::to_string(id)));
  }
  client = connect();  // closes the first; the hang-up is noticed although nothing is sent
  std::size_t followers = 1;
  while (followers != 0)
    pipeline_.call([&] {
      control_.streams.publish(model::Exchange{});
      followers = control_.streams.followers();
    });
}

TEST_F(ServerTest, EndsAStreamThatDoesNotFollow) {
  start();
  pipeline_.call([&] {
    for (std::uint64_t id = 1; id <= 5; ++id) {
      model::Exchange x;
      x.id = id;
      x.kind = id % 2 == 0 ? model::Kind::kLlm : model::Kind::kMcp;
      control_.streams.publish(x);
    }
  });
  Client client(options_.socket);
  ObserveRequest request;
  request.set_kind("mcp");
  request.set_last(2);
  std::vector<std::uint64_t> ids;
  ASSERT_TRUE(client.stream(request, [&](std::string_view line) {
    Exchange x;
    EXPECT_TRUE(from_json(line, x));
    ids.push_back(x.id());
    return true;
  }));
  EXPECT_EQ(ids, (std::vector<std::uint64_t>{3, 5}));
  request.set_kind("nope");
  auto refused = client.stream(request, [](std::string_view) { return true; });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, base::ErrorCode::kUsage);
}

TEST_F(ServerTest, ASlowReaderLosesLinesAndIsTold) {
  options_.stream_queue_lines = 8;
  start();
  auto client = connect();
  client.send("GET /v1/exchanges?follow=true HTTP/1.1\r\nHost: x\r\n\r\n");
  client.read_until("\r\n\r\n");
  constexpr std::uint64_t kSent = 5000;  // far more than socket buffers and queue hold
  pipeline_.call([&] {
    model::Exchange x;
    x.path = std::string(4000, 'p');
    for (x.id = 1; x.id <= kSent; ++x.id) control_.streams.publish(x);
  });
  const std::uint64_t dropped = server_->counters().dropped_lines;
  EXPECT_GT(dropped, 0u);
  // Lines and drop notices add up exactly.
  std::uint64_t lines = 0, told = 0;
  while (lines + told < kSent) {
    const std::string line = client.read_until("}\n");
    ASSERT_FALSE(line.empty());
    if (const auto at = line.find("{\"dropped\":"); at != std::string::npos)
      told += std::stoull(line.substr(at + 11));
    else
      ++lines;
  }
  EXPECT_EQ(lines + told, kSent);
  EXPECT_EQ(told, dropped);
}

TEST_F(ServerTest, BoundsStreams) {
  options_.max_streams = 2;
  start();
  std::vector<RawClient> open;
  for (int i = 0; i < 2; ++i) {
    open.push_back(connect());
    open.back().send("GET /v1/exchanges?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(open.back().read_until("\r\n\r\n"), StartsWith("HTTP/1.1 200"));
  }
  EXPECT_THAT(get("/v1/exchanges?follow=1"), StartsWith("HTTP/1.1 503"));
  open.clear();
  // The slots come back when the hang-ups are noticed.
  std::string answer;
  do {
    auto client = connect();
    client.send("GET /v1/exchanges?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    answer = client.read_until("\r\n\r\n");
  } while (answer.starts_with("HTTP/1.1 503"));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
}

TEST_F(ServerTest, ClosesClientsThatNeverFinishARequest) {
  options_.request_timeout_ms = 50;
  start();
  auto silent = connect(), halfway = connect(), no_body = connect();
  halfway.send("GET /v1/status HTT");
  no_body.send("POST /v1/kill HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
  silent.read_all();
  halfway.read_all();
  no_body.read_all();
  EXPECT_GE(server_->counters().slow_clients, 3u);
}

TEST_F(ServerTest, BoundsBodiesAndHeaders) {
  options_.max_body_bytes = 1000;
  start();
  auto announced = connect();
  announced.send("POST /v1/kill HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n");
  EXPECT_THAT(announced.read_until("\r\n"), StartsWith("HTTP/1.1 413"));
  auto chunked = connect();
  chunked.send("POST /v1/kill HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 100; ++i) chunked.send("100\r\n" + std::string(256, 'x') + "\r\n");
  chunked.send("0\r\n\r\n");
  EXPECT_THAT(chunked.read_until("\r\n"), StartsWith("HTTP/1.1 413"));
  auto header = connect();
  header.send("GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Big: " + std::string(100'000, 'h') + "\r\n\r\n");
  EXPECT_THAT(header.read_until("\r\n"), ::testing::Not(StartsWith("HTTP/1.1 200")));
  EXPECT_EQ(server_->counters().oversized, 2u);
  EXPECT_TRUE(control_.calls.empty());
}

TEST_F(ServerTest, GarbageDoesNotStopIt) {
  options_.request_timeout_ms = 200;  // some of it is the start of a request
  start();
  for (const char* bytes : {"\0\0\0\0", "\x16\x03\x01\x02\x00", "GET\r\n\r\n", "\r\n\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
                            "POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", "GET %%% HTTP/1.1\r\nHost: x\r\n\r\n"}) {
    auto client = connect();
    client.send(bytes);
    ::shutdown(client.fd(), SHUT_WR);
    client.read_all();
  }
  EXPECT_THAT(get("/healthz"), StartsWith("HTTP/1.1 200"));
}

TEST_F(ServerTest, StopsWhileRequestsAndStreamsAreOpen) {
  start();
  auto stream = connect();
  stream.send("GET /v1/exchanges?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n");
  stream.read_until("\r\n\r\n");
  pipeline_.pause(true);
  auto waiting = connect();
  waiting.send("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n");
  auto idle = connect();
  server_.reset();
  stream.read_all();
  waiting.read_all();
  pipeline_.pause(false);
  pipeline_.call([] {});
  EXPECT_TRUE(control_.calls.empty() || control_.calls.back().first == "Observe");
}

TEST_F(ServerTest, ManyClientsAtOnce) {
  control_.answers["GetStatus"] = R"({"version":"v"})";
  start();
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      Client client(options_.socket);
      for (int i = 0; i < 50; ++i)
        if (auto status = client.call<Status>(GetStatusRequest()); status && status->version() == "v") ++good;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 400);
}

TEST_F(ServerTest, TakenPortIsOneClearError) {
  start();
  Server::Options other = options_;
  other.socket = folder_ + "/other";
  other.tcp_listen = "127.0.0.1:" + std::to_string(server_->tcp_port());
  auto second = Server::start(other, [](auto) {}, control_, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, base::ErrorCode::kUnavailable);
  EXPECT_THAT(second.error().message(), HasSubstr("cannot listen on 127.0.0.1:"));
  EXPECT_FALSE(std::filesystem::exists(other.socket));
  other.tcp_listen = "localhost:http";
  EXPECT_EQ(Server::start(other, [](auto) {}, control_, {}).error().code, base::ErrorCode::kUsage);
}

}  // namespace
}  // namespace penstock::api
