// The pipeline with its real parts (parsers, prices, ledger, policies) over a simulated kernel, for tests.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "parsers/session/session.h"
#include "userspace/pipeline/pipeline.h"
#include "userspace/pipeline/sim_kernel.h"
#include "userspace/policy/check.h"

namespace penstock::pipeline {

// Processes by number: tgid n is program "agent-n" unless named otherwise.
class FakeSubjects final : public SubjectSource {
 public:
  std::map<std::uint32_t, std::string> names;
  std::vector<std::uint32_t> living;

  model::Subject make(std::uint32_t tgid) const {
    model::Subject subject;
    const auto it = names.find(tgid);
    subject.agent = it != names.end() ? it->second : "agent-" + std::to_string(tgid);
    subject.run = "run-" + std::to_string(tgid);
    subject.user = "dev";
    subject.process = {tgid, 1000};
    return subject;
  }
  const model::Subject& subject(std::uint32_t tgid) override { return current_ = make(tgid); }
  std::string program(std::uint32_t tgid) override { return "program-" + std::to_string(tgid); }
  std::map<std::uint32_t, std::uint32_t> started_by;
  std::vector<model::Subject> ancestors(const model::Subject& subject) override {
    std::vector<model::Subject> out;
    for (auto it = started_by.find(subject.process.pid); it != started_by.end(); it = started_by.find(it->second))
      out.push_back(make(it->second));
    return out;
  }
  void on_fork(const pn_ev_fork&) override {}
  void on_exec(const pn_ev_exec&) override {}
  void on_exit(const pn_ev_exit&) override {}
  void on_moved(std::uint32_t) override {}
  void for_each_process(const std::function<void(const model::Subject&)>& visit) override {
    for (const std::uint32_t tgid : living) visit(make(tgid));
  }

 private:
  model::Subject current_;
};

class FakeProcessControl final : public ProcessControl {
 public:
  std::vector<std::string> done;
  base::Result<> freeze(const model::Subject& subject, bool frozen) override {
    done.push_back((frozen ? "freeze " : "thaw ") + subject.agent);
    return {};
  }
  base::Result<> sigkill(const model::ProcessKey& process) override {
    done.push_back("kill " + std::to_string(process.pid));
    return {};
  }
};

class Recorder final : public Observer {
 public:
  struct Said {
    model::Verdict verdict;
    bool would;
    std::string text;
  };
  std::vector<model::Exchange> exchanges;
  std::vector<Said> verdicts;
  void on_exchange(const model::Exchange& exchange) override { exchanges.push_back(exchange); }
  void on_verdict(const model::Exchange&, const model::Verdict& verdict, bool would, std::string_view text) override {
    verdicts.push_back({verdict, would, std::string(text)});
  }
  void on_hold_ended(const model::Exchange&, std::string_view, std::uint64_t) override {}
  void on_soft_crossing(const ledger::SoftCrossing&) override {}
};

constexpr std::uint64_t kSecond = 1'000'000'000;

// A chat completion request as SDKs write it.
inline std::string chat_request(std::string_view model, std::uint64_t max_tokens, bool stream = false,
                                std::string_view host = "api.openai.com", std::string_view prompt = "Say hello.") {
  const std::string body = "{\"model\":\"" + std::string(model) + "\",\"max_tokens\":" + std::to_string(max_tokens) +
                           ",\"stream\":" + (stream ? "true" : "false") +
                           ",\"messages\":[{\"role\":\"user\",\"content\":\"" + std::string(prompt) + "\"}]}";
  return "POST /v1/chat/completions HTTP/1.1\r\nHost: " + std::string(host) +
         "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

inline std::string chat_answer(std::string_view model, std::uint64_t input, std::uint64_t output) {
  const std::string body =
      "{\"id\":\"c1\",\"object\":\"chat.completion\",\"model\":\"" + std::string(model) +
      "\",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\","
      "\"content\":\"Hello.\"}}],\"usage\":{\"prompt_tokens\":" +
      std::to_string(input) + ",\"completion_tokens\":" + std::to_string(output) +
      ",\"total_tokens\":" + std::to_string(input + output) + "}}";
  return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

inline std::string stream_head() {
  return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
}

inline std::string http_chunk(const std::string& data) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", data.size());
  return size + data + "\r\n";
}

inline std::string stream_chunk(std::string_view model, std::string_view text) {
  return http_chunk("data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"model\":\"" + std::string(model) +
                    "\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" + std::string(text) + "\"}}]}\n\n");
}

inline std::string stream_end(std::string_view model) {
  return http_chunk("data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"model\":\"" + std::string(model) +
                    "\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n") +
         http_chunk("data: [DONE]\n\n") + "0\r\n\r\n";
}

class PipelineTest : public testing::Test {
 protected:
  PipelineTest() {
    auto book = ledger::PriceBook::load({});
    EXPECT_TRUE(book.has_value()) << (book ? "" : book.error().message());
    prices_.emplace(std::move(book).value());
    estimator_ = std::make_unique<ledger::Estimator>(ledger::Estimator::Options{}, &*prices_);
    ledger_ = std::make_unique<ledger::Ledger>(ledger::Ledger::Options{}, nullptr, ledger_now());
    start();
  }

  // A daemon's life: a second call is a restart over the same kernel.
  void start(bool resumed = false) {
    pipeline_.reset();
    auto kills = KillSwitches::open(kills_path_);
    EXPECT_TRUE(kills.has_value()) << (kills ? "" : kills.error().message());
    kills_.emplace(std::move(kills).value());
    auto ids = ScopeIds::open({});
    scopes_.emplace(kernel_, std::move(ids).value());
    Options options = options_;
    options.resumed = resumed;
    tracker::Options tracker_options;
    tracker_options.resumed = resumed;
    pipeline_ = std::make_unique<Pipeline>(Pipeline::Parts{clock_,
                                                           kernel_,
                                                           *ledger_,
                                                           *estimator_,
                                                           *prices_,
                                                           subjects_,
                                                           processes_,
                                                           *kills_,
                                                           *scopes_,
                                                           &parsers::session::make_connection_parser,
                                                           &kernel_,
                                                           {&recorder_},
                                                           nullptr,
                                                           tls_knowledge_},
                                           options, tracker_options);
    kernel_.sink = pipeline_.get();
    if (!policies_.empty()) apply(policies_);
  }
  // The daemon dies: nobody reads the ring, what was known is gone.
  void die() {
    kernel_.sink = nullptr;
    kernel_.daemon_away = true;
    pipeline_->shutdown();  // destroys nothing in the kernel
    pipeline_.reset();
    recorder_.exchanges.clear();
  }

  void apply(const std::string& yaml, const policy::Defaults& defaults = {}) {
    policies_ = yaml;
    const policy::Support support{.approvals = true, .delegation = true, .tools = true};
    const policy::LoadedPolicies loaded = policy::read_policies(yaml, "test.yaml", support);
    ASSERT_FALSE(api::has_errors(loaded.diagnostics)) << loaded.diagnostics.front().text();
    auto compiled = policy::compile(loaded.set, defaults, support);
    ASSERT_TRUE(compiled.has_value()) << compiled.error().message();
    bool strict = false;
    for (const auto& p : loaded.set.policies()) strict = strict || p.mode() == api::MODE_STRICT;
    const auto set = pipeline_->set_policies(std::move(compiled).value(), strict);
    ASSERT_TRUE(set.has_value()) << set.error().message();
  }

  void advance(std::uint64_t ns) {
    clock_.advance_ns(ns);
    pipeline_->tick();
    kernel_.pump();
  }
  void tick() { advance(0); }

  ledger::Now ledger_now() const { return {clock_.boot_ns(), clock_.real_ns()}; }
  SimKernel::Conn& conn(std::uint64_t cookie) { return kernel_.conns.at(cookie); }
  const std::string& received(std::uint64_t cookie) { return conn(cookie).received; }
  std::int64_t spent(const std::string& policy, const std::string& name, const std::string& key = {}) {
    const auto id = ledger_->find(policy, name);
    if (!id) return -1;
    const auto status = ledger_->status(*id, key, ledger_now());
    return status ? status->spent : 0;
  }
  std::int64_t reserved(const std::string& policy, const std::string& name, const std::string& key = {}) {
    const auto id = ledger_->find(policy, name);
    const auto status = id ? ledger_->status(*id, key, ledger_now()) : std::nullopt;
    return status ? status->reserved : 0;
  }
  const model::Exchange& last() { return recorder_.exchanges.back(); }
  api::Selector agent(const std::string& name) {
    api::Selector selector;
    selector.set_agent(name);
    return selector;
  }
  base::Result<KillOutcome> kill(const api::Selector& selector, bool sigkill = false) {
    api::KillSwitch order;
    *order.mutable_selector() = selector;
    order.set_reason("test");
    auto done = pipeline_->kill(order, sigkill);
    kernel_.pump();
    return done;
  }

  base::ManualClock clock_{1'000 * kSecond, 1'770'000'000 * static_cast<std::int64_t>(kSecond)};
  SimKernel kernel_{clock_};
  FakeSubjects subjects_;
  FakeProcessControl processes_;
  Recorder recorder_;
  TlsKnowledge* tls_knowledge_ = nullptr;
  Options options_;
  std::string kills_path_;
  std::string policies_;
  std::optional<ledger::PriceBook> prices_;
  std::unique_ptr<ledger::Estimator> estimator_;
  std::unique_ptr<ledger::Ledger> ledger_;
  std::optional<KillSwitches> kills_;
  std::optional<Scopes> scopes_;
  std::unique_ptr<Pipeline> pipeline_;
};

}  // namespace penstock::pipeline
