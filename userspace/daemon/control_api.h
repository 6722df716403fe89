// The control API, answered from the daemon's parts. Pipeline thread only (the server posts through the executor).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/api/control.h"
#include "userspace/daemon/daemon.h"

namespace penstock::daemon {

class ControlApi final : public api::Control {
 public:
  explicit ControlApi(Daemon& daemon) : d_(daemon) {}

  base::Result<> authorize(const api::Peer&, std::string_view rpc) override;
  base::Result<api::Status> get_status(const api::Peer&, const api::GetStatusRequest&) override;
  base::Result<api::DoctorReport> get_doctor(const api::Peer&, const api::GetDoctorRequest&) override;
  base::Result<base::Unit> observe(const api::Peer&, const api::ObserveRequest&,
                                   std::shared_ptr<api::LineStream>) override;
  base::Result<api::TopSnapshot> get_top(const api::Peer&, const api::GetTopRequest&) override;
  base::Result<api::AgentList> list_agents(const api::Peer&, const api::ListAgentsRequest&) override;
  base::Result<api::CreateRunResponse> create_run(const api::Peer&, const api::CreateRunRequest&) override;
  base::Result<api::RunSummary> get_run(const api::Peer&, const api::GetRunRequest&) override;
  base::Result<api::RunSummary> finish_run(const api::Peer&, const api::FinishRunRequest&) override;
  base::Result<api::BudgetList> list_budgets(const api::Peer&, const api::ListBudgetsRequest&) override;
  base::Result<api::BudgetList> set_budget(const api::Peer&, const api::SetBudgetRequest&) override;
  base::Result<api::BudgetList> reset_budget(const api::Peer&, const api::ResetBudgetRequest&) override;
  base::Result<api::KillResponse> kill(const api::Peer&, const api::KillRequest&) override;
  base::Result<api::ReleaseResponse> release(const api::Peer&, const api::ReleaseRequest&) override;
  base::Result<api::KillList> list_kills(const api::Peer&, const api::ListKillsRequest&) override;
  base::Result<api::HeldList> list_held(const api::Peer&, const api::ListHeldRequest&) override;
  base::Result<api::PolicyReport> check_policy(const api::Peer&, const api::CheckPolicyRequest&) override;
  base::Result<api::PolicyReport> apply_policy(const api::Peer&, const api::ApplyPolicyRequest&) override;
  base::Result<api::PolicyList> list_policies(const api::Peer&, const api::ListPoliciesRequest&) override;
  base::Result<api::PolicyList> remove_policy(const api::Peer&, const api::RemovePolicyRequest&) override;
  base::Result<api::CoverageList> list_coverage(const api::Peer&, const api::ListCoverageRequest&) override;
  base::Result<api::CallGraph> get_graph(const api::Peer&, const api::GetGraphRequest&) override;
  base::Result<api::CounterList> list_counters(const api::Peer&, const api::ListCountersRequest&) override;
  base::Result<api::PriceList> list_prices(const api::Peer&, const api::ListPricesRequest&) override;

  api::Losses losses() const;
  // For /metrics.
  exporters::Snapshot snapshot();

 private:
  struct Live {
    std::uint64_t in_flight = 0, held = 0;
  };
  struct LiveByName {
    Live all;
    std::map<std::string, Live> agents, runs;
    std::map<std::pair<std::string, std::string>, Live> models;
  };
  LiveByName live() const;
  static void add_live(api::Totals& totals, const Live& live);
  std::string mode_of(const ActivityRow& row) const;
  bool killed(const model::Subject& subject) const;
  std::optional<std::uint32_t> budget_used_percent(const model::Subject& subject) const;
  api::BudgetState state_of(const ledger::BudgetStatus& status) const;
  base::Result<std::vector<ledger::BudgetId>> find_budget(const std::string& name,
                                                          const std::optional<std::string>& policy,
                                                          std::optional<ledger::BudgetUnit> unit) const;
  base::Result<> make_durable();
  api::BudgetList states_of(const std::vector<ledger::BudgetId>& budgets, const std::optional<std::string>& key) const;
  api::RunSummary summary(const Run& run) const;
  std::vector<api::CoverageRow> coverage_of(const std::function<bool(const model::Subject&)>& wanted) const;
  void images_of(const model::Subject& subject, std::vector<api::CoverageRow>& rows) const;
  // Somebody or something that a selector can mean exists.
  bool selects_anything(const api::Selector& selector) const;

  Daemon& d_;
  std::uint64_t orders_refused_ = 0;
};

// What works on this machine, and what does not.
api::DoctorReport examine(const std::string& bpffs_dir, const std::string& state_dir);
std::string kernel_release();

}  // namespace penstock::daemon
