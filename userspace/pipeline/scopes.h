// Who is in which enforcement scope of the kernel, and what holds there. The verdict on a request is always given by
// the identity of its process; scopes decide only whether a write waits for a verdict, and what happens while no daemon
// runs.
//
// A scope is named by what holds in it plus the agent (so that one agent's event flood or kill does not touch
// another's), and keeps its number across restarts. Default scope 0: processes nobody has looked at yet. It gates when
// some policy matches everybody, when a policy is strict, and while kill switches are in force, so that a new process's
// first request waits. Pipeline thread only. Failure: a map write that fails is counted and tried again with the next
// placement.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "userspace/gate/core/gate_control.h"
#include "userspace/model/agent.h"
#include "userspace/pipeline/scope_ids.h"
#include "userspace/policy/policy.h"

namespace penstock::pipeline {

class Scopes {
 public:
  // What of a lease may be left behind for a scope, given what its budgets have left.
  using LeaseLimit = std::function<policy::Lease(const policy::Effective&)>;

  Scopes(gate::GateControl& gate, ScopeIds ids) : gate_(gate), ids_(std::move(ids)) {}

  struct Defaults {
    std::shared_ptr<const policy::Effective> nobody;  // what holds for a process nothing is known of
    bool any_strict = false;
    bool kills = false;
  };
  // Before processes are placed anew.
  void set_defaults(const Defaults& defaults);
  // While set, a process that belongs to the default scope is taken out of whatever an earlier daemon put it in.
  void set_unknown_before(bool unknown) { unknown_before_ = unknown; }

  // `killed`: a kill switch stops this subject. Returns its scope.
  std::uint32_t place(const model::Subject& subject, const std::shared_ptr<const policy::Effective>& effective,
                      bool killed);
  std::uint32_t place_cgroup(std::uint64_t cgroup_id, const model::Subject& subject,
                             const std::shared_ptr<const policy::Effective>& effective, bool killed);
  void clear_cgroup(std::uint64_t cgroup_id);
  // The kernel copied the parent's scope to the child.
  void forked(std::uint32_t parent, std::uint32_t child);
  void exited(std::uint32_t tgid);

  void refill_leases(const LeaseLimit& limit);

  bool default_gates() const { return default_gates_; }
  std::size_t active() const { return active_.size(); }
  std::uint64_t errors() const { return errors_; }
  std::uint64_t exhausted() const { return ids_.exhausted(); }

 private:
  struct Active {
    pn_scope_val value{};
    std::shared_ptr<const policy::Effective> effective;
    std::uint32_t members = 0;  // processes and cgroups
  };
  std::uint32_t scope_for(const model::Subject& subject, const std::shared_ptr<const policy::Effective>& effective,
                          bool killed);
  void write(std::uint32_t scope, const pn_scope_val& value);
  void count(base::Result<> result);
  void leave(std::uint32_t scope);

  gate::GateControl& gate_;
  ScopeIds ids_;
  std::unordered_map<std::uint32_t, Active> active_;          // by scope
  std::unordered_map<std::uint32_t, std::uint32_t> process_;  // tgid -> scope as written
  std::unordered_map<std::uint64_t, std::uint32_t> cgroup_;   // cgroup id -> scope as written
  bool default_gates_ = false;
  bool kills_ = false;
  bool unknown_before_ = false;
  std::uint64_t errors_ = 0;
};

// What a scope with these settings looks like to the kernel.
pn_scope_val scope_value(const policy::ScopeSettings& settings, bool killed);

}  // namespace penstock::pipeline
