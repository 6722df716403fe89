// What the daemon implements to answer the control API (control.proto). One function per rpc of `service Control`, with
// the same name in snake_case; dispatch.cc ties the two together and refuses to start when one is missing.
//
// Threads: every function is called on the daemon's pipeline thread, through the executor given to the server: no
// locks. Failure: an Error becomes an HTTP status and {"error":…}; its code is the exit code of the command line.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "userspace/api/control.pb.h"
#include "userspace/base/result.h"

namespace penstock::api {

// Who asks: from SO_PEERCRED when the connection was made.
struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

// The daemon's end of a streaming answer: one JSON object per line, through a bounded queue. Thread-safe.
class LineStream {
 public:
  virtual ~LineStream() = default;
  // Queues one line (with its newline); a full queue drops it, counts it and tells the client. False: the client is
  // gone.
  virtual bool send(std::shared_ptr<const std::string> line) = 0;
  // No more lines: the client sees the end of the stream after what is queued.
  virtual void finish() = 0;
  virtual bool open() const = 0;  // neither finished nor left by its client
};

class Control {
 public:
  virtual ~Control() = default;
  // Asked before every call, with the rpc's name. The socket's permissions have let the peer in already; this is for
  // what they cannot tell, such as a governed process that wants to lift its own limits.
  virtual base::Result<> authorize(const Peer&, std::string_view /*rpc*/) { return {}; }
  virtual base::Result<Status> get_status(const Peer&, const GetStatusRequest&) = 0;
  virtual base::Result<DoctorReport> get_doctor(const Peer&, const GetDoctorRequest&) = 0;
  // Keeps `stream` while it is open, or calls finish() at once when the request does not follow.
  virtual base::Result<base::Unit> observe(const Peer&, const ObserveRequest&, std::shared_ptr<LineStream> stream) = 0;
  virtual base::Result<TopSnapshot> get_top(const Peer&, const GetTopRequest&) = 0;
  virtual base::Result<AgentList> list_agents(const Peer&, const ListAgentsRequest&) = 0;
  virtual base::Result<CreateRunResponse> create_run(const Peer&, const CreateRunRequest&) = 0;
  virtual base::Result<RunSummary> get_run(const Peer&, const GetRunRequest&) = 0;
  virtual base::Result<RunSummary> finish_run(const Peer&, const FinishRunRequest&) = 0;
  virtual base::Result<BudgetList> list_budgets(const Peer&, const ListBudgetsRequest&) = 0;
  virtual base::Result<BudgetList> set_budget(const Peer&, const SetBudgetRequest&) = 0;
  virtual base::Result<BudgetList> reset_budget(const Peer&, const ResetBudgetRequest&) = 0;
  virtual base::Result<KillResponse> kill(const Peer&, const KillRequest&) = 0;
  virtual base::Result<ReleaseResponse> release(const Peer&, const ReleaseRequest&) = 0;
  virtual base::Result<KillList> list_kills(const Peer&, const ListKillsRequest&) = 0;
  virtual base::Result<HeldList> list_held(const Peer&, const ListHeldRequest&) = 0;
  virtual base::Result<PolicyReport> check_policy(const Peer&, const CheckPolicyRequest&) = 0;
  virtual base::Result<PolicyReport> apply_policy(const Peer&, const ApplyPolicyRequest&) = 0;
  virtual base::Result<PolicyList> list_policies(const Peer&, const ListPoliciesRequest&) = 0;
  virtual base::Result<PolicyList> remove_policy(const Peer&, const RemovePolicyRequest&) = 0;
  virtual base::Result<CoverageList> list_coverage(const Peer&, const ListCoverageRequest&) = 0;
  virtual base::Result<CallGraph> get_graph(const Peer&, const GetGraphRequest&) = 0;
  virtual base::Result<CounterList> list_counters(const Peer&, const ListCountersRequest&) = 0;
  virtual base::Result<PriceList> list_prices(const Peer&, const ListPricesRequest&) = 0;
};

}  // namespace penstock::api
