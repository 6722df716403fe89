// Runs made by `penstock run`: each has a cgroup of its own, policies of its own and a summary when it ends. Kept in
// the state directory, so that a run goes on under the next daemon. A run ends when it is told to, or when the process
// that asked for it is gone and its cgroup is empty. Pipeline thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "userspace/api/control.h"
#include "userspace/base/clock.h"
#include "userspace/base/result.h"
#include "userspace/daemon/cgroups.h"
#include "userspace/daemon/policy_store.h"
#include "userspace/model/agent.h"

namespace penstock::daemon {

struct Run {
  std::string id;
  std::string agent;
  std::string cgroup;  // path from the root of the hierarchy
  std::uint64_t cgroup_id = 0;
  std::string mode;
  model::ProcessKey owner;  // who asked for it
  model::ProcessKey root;   // its first process; pid 0: not known yet
  std::int64_t started_real_ns = 0;
  std::int64_t ended_real_ns = 0;  // 0: running
  std::optional<std::int32_t> exit_code;
  api::CreateRunRequest request;  // as asked, to make its policies again after a restart
};

// What a run needs from the rest of the daemon.
class RunHost {
 public:
  virtual ~RunHost() = default;
  virtual void run_started(const Run& run) = 0;  // cgroup exists, policies are in force
  virtual void run_process(const Run& run) = 0;  // `root` is known
  virtual void run_ended(const Run& run) = 0;    // policies are gone
  virtual std::optional<model::ProcessKey> process(std::uint32_t pid) = 0;
};

class Runs {
 public:
  Runs(const base::Clock& clock, const Cgroups& cgroups, PolicyStore& policies, RunHost& host, std::string file)
      : clock_(clock), cgroups_(cgroups), policies_(policies), host_(host), file_(std::move(file)) {}

  // Takes up the runs of an earlier daemon.
  base::Result<> restore();
  base::Result<const Run*> create(const api::Peer& peer, const api::CreateRunRequest& request, bool& attached);
  base::Result<const Run*> finish(const std::string& id, std::optional<std::int32_t> exit_code);
  const Run* find(const std::string& id) const;
  // Ends what nobody waits for any more. About once a second.
  void sweep();
  // Ends all (an ephemeral daemon stops).
  void finish_all();
  std::size_t running() const;
  std::uint64_t created() const { return created_; }
  const std::map<std::string, Run>& all() const { return runs_; }

 private:
  static constexpr std::size_t kMaxRunning = 1024;
  static constexpr std::size_t kMaxFinished = 256;
  base::Result<> add_policies(const Run& run);
  base::Result<bool> attach(Run& run, const api::Peer& peer, std::uint32_t pid);
  void end(Run& run);
  void save();

  const base::Clock& clock_;
  const Cgroups& cgroups_;
  PolicyStore& policies_;
  RunHost& host_;
  std::string file_;
  std::map<std::string, Run> runs_;
  std::vector<std::string> finished_;   // oldest first
  std::vector<std::string> to_remove_;  // cgroups that still had processes when their run ended
  std::uint64_t created_ = 0;
};

}  // namespace penstock::daemon
