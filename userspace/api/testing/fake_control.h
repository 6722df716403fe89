// For tests: a pipeline thread and a Control that answers with what the test put in it.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "userspace/api/control.h"
#include "userspace/api/exchange_streams.h"
#include "userspace/api/message_json.h"

namespace penstock::api::testing {

// Runs what is posted, in order, on one thread; pause() makes it a pipeline that does not answer.
class PipelineThread {
 public:
  PipelineThread() : thread_([this] { run(); }) {}
  ~PipelineThread() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
      paused_ = false;
    }
    changed_.notify_all();
    thread_.join();
  }
  void post(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(work));
    }
    changed_.notify_all();
  }
  void pause(bool paused) {
    {
      const std::lock_guard lock(mutex_);
      paused_ = paused;
    }
    changed_.notify_all();
  }
  // Posts and waits until it has run.
  void call(const std::function<void()>& work) {
    std::mutex m;
    std::condition_variable cv;
    bool done = false;
    post([&] {
      work();
      const std::lock_guard lock(m);
      done = true;
      cv.notify_one();
    });
    std::unique_lock lock(m);
    cv.wait(lock, [&] { return done; });
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stop_ || (!paused_ && !queue_.empty()); });
      if (stop_) return;
      auto work = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      work();
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool stop_ = false, paused_ = false;
  std::thread thread_;
};

class FakeControl : public Control {
 public:
  // What to answer: JSON of the response by rpc name, or an error. Set before the server starts or on the pipeline
  // thread.
  std::map<std::string, std::string> answers;
  std::map<std::string, base::Error> errors;
  std::vector<std::pair<std::string, std::string>> calls;  // rpc, request as JSON
  Peer last_peer;
  std::string forbidden;  // rpc that authorize() refuses
  ExchangeStreams streams;

  base::Result<> authorize(const Peer&, std::string_view rpc) override {
    if (rpc != forbidden) return {};
    return base::Error{base::ErrorCode::kPrivilege, 0, "a governed process may not do this", {}};
  }
  base::Result<Status> get_status(const Peer& p, const GetStatusRequest& r) override {
    return answer<Status>("GetStatus", p, r);
  }
  base::Result<DoctorReport> get_doctor(const Peer& p, const GetDoctorRequest& r) override {
    return answer<DoctorReport>("GetDoctor", p, r);
  }
  base::Result<base::Unit> observe(const Peer& p, const ObserveRequest& r,
                                   std::shared_ptr<LineStream> stream) override {
    record("Observe", p, r);
    return streams.open(r, std::move(stream));
  }
  base::Result<TopSnapshot> get_top(const Peer& p, const GetTopRequest& r) override {
    return answer<TopSnapshot>("GetTop", p, r);
  }
  base::Result<AgentList> list_agents(const Peer& p, const ListAgentsRequest& r) override {
    return answer<AgentList>("ListAgents", p, r);
  }
  base::Result<CreateRunResponse> create_run(const Peer& p, const CreateRunRequest& r) override {
    return answer<CreateRunResponse>("CreateRun", p, r);
  }
  base::Result<RunSummary> get_run(const Peer& p, const GetRunRequest& r) override {
    return answer<RunSummary>("GetRun", p, r);
  }
  base::Result<RunSummary> finish_run(const Peer& p, const FinishRunRequest& r) override {
    return answer<RunSummary>("FinishRun", p, r);
  }
  base::Result<BudgetList> list_budgets(const Peer& p, const ListBudgetsRequest& r) override {
    return answer<BudgetList>("ListBudgets", p, r);
  }
  base::Result<BudgetList> set_budget(const Peer& p, const SetBudgetRequest& r) override {
    return answer<BudgetList>("SetBudget", p, r);
  }
  base::Result<BudgetList> reset_budget(const Peer& p, const ResetBudgetRequest& r) override {
    return answer<BudgetList>("ResetBudget", p, r);
  }
  base::Result<KillResponse> kill(const Peer& p, const KillRequest& r) override {
    return answer<KillResponse>("Kill", p, r);
  }
  base::Result<ReleaseResponse> release(const Peer& p, const ReleaseRequest& r) override {
    return answer<ReleaseResponse>("Release", p, r);
  }
  base::Result<KillList> list_kills(const Peer& p, const ListKillsRequest& r) override {
    return answer<KillList>("ListKills", p, r);
  }
  base::Result<HeldList> list_held(const Peer& p, const ListHeldRequest& r) override {
    return answer<HeldList>("ListHeld", p, r);
  }
  base::Result<PolicyReport> check_policy(const Peer& p, const CheckPolicyRequest& r) override {
    return answer<PolicyReport>("CheckPolicy", p, r);
  }
  base::Result<PolicyReport> apply_policy(const Peer& p, const ApplyPolicyRequest& r) override {
    return answer<PolicyReport>("ApplyPolicy", p, r);
  }
  base::Result<PolicyList> list_policies(const Peer& p, const ListPoliciesRequest& r) override {
    return answer<PolicyList>("ListPolicies", p, r);
  }
  base::Result<PolicyList> remove_policy(const Peer& p, const RemovePolicyRequest& r) override {
    return answer<PolicyList>("RemovePolicy", p, r);
  }
  base::Result<CoverageList> list_coverage(const Peer& p, const ListCoverageRequest& r) override {
    return answer<CoverageList>("ListCoverage", p, r);
  }
  base::Result<CallGraph> get_graph(const Peer& p, const GetGraphRequest& r) override {
    return answer<CallGraph>("GetGraph", p, r);
  }
  base::Result<CounterList> list_counters(const Peer& p, const ListCountersRequest& r) override {
    return answer<CounterList>("ListCounters", p, r);
  }
  base::Result<PriceList> list_prices(const Peer& p, const ListPricesRequest& r) override {
    return answer<PriceList>("ListPrices", p, r);
  }

 private:
  void record(const std::string& rpc, const Peer& peer, const google::protobuf::Message& request) {
    last_peer = peer;
    calls.emplace_back(rpc, to_json(request));
  }
  template <class Answer>
  base::Result<Answer> answer(const std::string& rpc, const Peer& peer, const google::protobuf::Message& request) {
    record(rpc, peer, request);
    if (const auto error = errors.find(rpc); error != errors.end()) return base::Error(error->second);
    Answer out;
    if (const auto json = answers.find(rpc); json != answers.end())
      if (auto read = from_json(json->second, out); !read) return read.error();
    return out;
  }
};

}  // namespace penstock::api::testing
