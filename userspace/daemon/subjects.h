// Identity as the pipeline asks for it: the process table, the names of the configuration, and the runs that `penstock
// run` started, which a process belongs to by its cgroup. Pipeline thread only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "userspace/api/config.pb.h"
#include "userspace/daemon/cgroups.h"
#include "userspace/identity/identity.h"
#include "userspace/pipeline/ports.h"

namespace penstock::daemon {

class Subjects final : public pipeline::SubjectSource {
 public:
  Subjects(const base::Clock& clock, const identity::Options& options);

  // Names of the configuration; the first match wins.
  void set_names(const google::protobuf::RepeatedPtrField<api::Config::AgentName>& names);
  void add_run(const std::string& cgroup, const std::string& run, const std::string& agent);
  void remove_run(const std::string& cgroup);
  void assign_root(const model::ProcessKey& root, const std::string& run, const std::string& agent);

  void scan() { identity_.scan(); }
  void expire() { identity_.expire(); }
  identity::Identity& identity() { return identity_; }

  // A process as it is now, not as it was when it last ran another program; nullopt: it is gone.
  std::optional<model::Subject> now(std::uint32_t pid);
  // What is known of whoever is born in this cgroup.
  model::Subject of_cgroup(const std::string& path) const;

  const model::Subject& subject(std::uint32_t tgid) override;
  std::string program(std::uint32_t tgid) override;
  std::vector<model::Subject> ancestors(const model::Subject& subject) override;
  void on_fork(const pn_ev_fork& event) override;
  void on_exec(const pn_ev_exec& event) override;
  void on_exit(const pn_ev_exit& event) override;
  void on_moved(std::uint32_t tgid) override { now(tgid); }
  void for_each_process(const std::function<void(const model::Subject&)>& visit) override;

 private:
  struct RunOf {
    std::string run, agent;
  };
  static constexpr std::size_t kMaxEnded = 16384;
  static constexpr std::size_t kMaxKnown = 4096;
  void apply_run(model::Subject& subject) const;
  std::optional<std::string> configured_name(const model::Subject& subject) const;

  identity::SystemProc reader_;
  identity::Identity identity_;
  std::vector<api::Config::AgentName> names_;
  std::map<std::string, RunOf> runs_;  // by cgroup path
  // Events of a process may arrive after its end: its key, until the pid is used again.
  std::unordered_map<std::uint32_t, model::ProcessKey> ended_;
  // Who the processes with traffic are, as of known_changes_ of the process table and of runs_.
  std::unordered_map<std::uint32_t, model::Subject> known_;
  std::uint64_t known_changes_ = 0;
  model::Subject current_;  // one that is not kept
};

}  // namespace penstock::daemon
