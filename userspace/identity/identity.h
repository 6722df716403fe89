// Processes, and who they are: agent, run, user, unit, pod, and on whose behalf they act.
//
// A process is keyed (pid, start in whole ticks). The table follows fork, exec and exit events and reads /proc at start
// and at exec; a child has its parent's facts until it runs another program. A parent is the process that forked, not
// the one that adopted an orphan, so a tree stays a tree when its launcher ends.
//
// Agent: the most stable name known. Kubernetes "namespace/workload/container"; a systemd service; else the program and
// its script, with "@user" unless that is root. `penstock run` and the configuration override it. Run: one process
// tree. Its root is the top-most ancestor of the same agent below the boundary: a login, a terminal, an interactive
// shell, a scheduler, a service manager, the start of a container. Processes between them (sh -c, npm) do not interrupt
// it. Delegation: agents above the run, from the origin down. Only ancestors that were seen to talk to an AI endpoint,
// or were started by `penstock run`, are agents; `make` is not.
//
// Processes that ended are kept for a grace period, for events that come late, and while they have children in the
// table. Owned by one thread. Bounded by Options::max_processes.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "userspace/base/clock.h"
#include "userspace/identity/cgroup_path.h"
#include "userspace/identity/proc_reader.h"
#include "userspace/identity/program.h"
#include "userspace/model/agent.h"

namespace penstock::identity {

struct Options {
  std::size_t max_processes = 65536;
  std::size_t max_pods = 8192;
  std::uint64_t grace_ns = 30'000'000'000;
};

// What the kubelet or the API server says about a pod.
struct PodInfo {
  std::string name;
  std::string ns;
  std::string workload;                           // "deployment/crawler"; empty: the pod's name stands for it
  std::map<std::string, std::string> containers;  // id → name
  std::map<std::string, std::string> labels;
};

// A run that somebody started explicitly: the process and its descendants belong to it.
struct ExplicitRun {
  std::string id;
  std::string agent;
  std::uint32_t scope_id = 0;
};

struct Link {
  std::string agent;
  std::string run;
  model::ProcessKey root;
};

struct Delegation {
  enum class Origin { kUnknown, kSession, kSchedule, kService, kContainer, kRun };
  Origin origin = Origin::kUnknown;
  std::string by;           // program at the boundary ("sshd", "cron"), unit or container
  std::vector<Link> chain;  // from the origin to the caller, which is last
};
std::string_view name(Delegation::Origin);

struct Stats {
  std::uint64_t processes = 0;  // in the table
  std::uint64_t ended = 0;      // of these, ended
  std::uint64_t refused = 0;    // not remembered: the table was full
  std::uint64_t unread = 0;     // gone before /proc could be read
};

class Identity {
 public:
  using Namer = std::function<std::optional<std::string>(const model::Subject&)>;

  Identity(Options, ProcReader&, const base::Clock&);

  void scan();  // every process; at start and after lost events
  void on_fork(std::uint32_t parent_pid, std::uint32_t child_pid, std::uint64_t child_start_boot_ns);
  void on_exec(std::uint32_t pid, std::uint64_t start_boot_ns, std::string_view path);
  void on_exit(std::uint32_t pid, std::uint64_t start_boot_ns);
  void expire();  // call about once a second

  // The living process with this pid; reads /proc when it is not known yet.
  std::optional<model::ProcessKey> key_of(std::uint32_t pid);
  // What is known: for an unknown process only its key is set. `cgroup_id` (of the event; 0: not known) tells when the
  // process moved since it was read.
  model::Subject resolve(const model::ProcessKey&, std::uint64_t cgroup_id = 0);
  // What it runs, "name" or "name:script", whoever it acts for; empty: not known.
  std::string program(const model::ProcessKey&);
  Delegation delegation(const model::ProcessKey&);
  // Living processes of a run, for `kill` and `top`.
  std::vector<model::ProcessKey> processes_of_run(const std::string& run);

  // The process talks to an AI endpoint: it is an agent in the delegation of its descendants. Returns the living ones
  // of these for whom that is news.
  std::vector<model::ProcessKey> note_agent(const model::ProcessKey&);
  // The process or one above it, whatever stands between, talks to AI endpoints or belongs to an explicit run.
  bool acts_for_agent(const model::ProcessKey&);
  void assign_run(const model::ProcessKey& root, ExplicitRun);
  void set_namer(Namer);  // from the configuration; nullopt keeps the derived name
  void set_pod(const std::string& uid, PodInfo);
  void forget_pod(const std::string& uid);

  Stats stats() const;
  // Another number whenever key_of() or resolve() might answer otherwise than before.
  std::uint64_t changes() const { return changes_; }

 private:
  // What a process runs; shared with children until they exec.
  struct Image {
    std::string exe, comm, cgroup;
    Program program;
    CgroupFacts cgroup_facts;
    std::uint32_t uid = 0;
    std::uint64_t cgroup_id = 0;
    bool interactive = false;  // a shell with somebody in front
    bool boundary = false;
    mutable std::string agent;
    mutable std::uint64_t agent_generation = 0;  // of the names: 0 is never current
  };
  struct Process {
    model::ProcessKey key;
    model::ProcessKey parent;  // pid 0: none known
    std::shared_ptr<const Image> image;
    std::shared_ptr<const ExplicitRun> run;
    model::ProcessKey run_root;  // of `run`
    std::uint32_t children = 0;
    bool talks = false;
    std::uint64_t noted = 0;     // changes() when it was last noted as an agent
    std::uint64_t ended_ns = 0;  // 0: alive
    bool expired = false;        // waits for its children only
  };
  using Table = std::map<model::ProcessKey, Process>;

  Process* find(const model::ProcessKey&);
  Process* find_or_read(const model::ProcessKey&);
  Process* insert(Process);
  void erase(Table::iterator);
  bool make_room();
  Process* learn(const ProcFacts&);
  std::shared_ptr<const Image> image_of(const ProcFacts&) const;
  model::Subject subject_of(const Process&) const;  // without agent and run
  const std::string& agent_of(const Process&) const;
  bool is_boundary(const Process& above, const Process& below) const;
  Process& root_of(Process&);
  bool descends_from(const model::ProcessKey& key, const model::ProcessKey& one, const model::ProcessKey& other);
  std::string run_of(Process&);
  void describe_origin(const Process* boundary, const Process& below, Delegation&) const;

  const Options options_;
  ProcReader& reader_;
  const base::Clock& clock_;
  Table table_;
  std::unordered_map<std::uint32_t, model::ProcessKey> living_;
  std::deque<model::ProcessKey> ended_;
  std::map<std::string, PodInfo> pods_;
  Namer namer_;
  std::uint64_t names_generation_ = 1;
  std::uint64_t changes_ = 1;
  Stats counters_;
};

}  // namespace penstock::identity
