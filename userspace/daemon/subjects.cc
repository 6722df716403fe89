#include "userspace/daemon/subjects.h"

#include <string_view>

#include "userspace/identity/cgroup_path.h"
#include "userspace/policy/match.h"

namespace penstock::daemon {

Subjects::Subjects(const base::Clock& clock, const identity::Options& options) : identity_(options, reader_, clock) {
  identity_.set_namer([this](const model::Subject& subject) { return configured_name(subject); });
}

void Subjects::set_names(const google::protobuf::RepeatedPtrField<api::Config::AgentName>& names) {
  names_.assign(names.begin(), names.end());
  identity_.set_namer([this](const model::Subject& subject) { return configured_name(subject); });
}

std::optional<std::string> Subjects::configured_name(const model::Subject& subject) const {
  for (const api::Config::AgentName& name : names_) {
    if (policy::matches(name.match(), subject)) return name.name();
  }
  return std::nullopt;
}

void Subjects::add_run(const std::string& cgroup, const std::string& run, const std::string& agent) {
  runs_[cgroup] = {run, agent};
  known_.clear();
}

void Subjects::remove_run(const std::string& cgroup) {
  runs_.erase(cgroup);
  known_.clear();
}

void Subjects::assign_root(const model::ProcessKey& root, const std::string& run, const std::string& agent) {
  identity_.assign_run(root, {run, agent, 0});
}

// A process may be in a cgroup below the run's.
void Subjects::apply_run(model::Subject& subject) const {
  if (runs_.empty()) return;
  for (std::string_view path = subject.cgroup; !path.empty(); path = path.substr(0, path.rfind('/'))) {
    if (const auto it = runs_.find(std::string(path)); it != runs_.end()) {
      subject.run = it->second.run;
      subject.agent = it->second.agent;
      return;
    }
  }
}

model::Subject Subjects::of_cgroup(const std::string& path) const {
  model::Subject subject;
  subject.cgroup = path;
  const identity::CgroupFacts facts = identity::parse_cgroup_path(path);
  subject.unit = facts.unit;
  subject.container = facts.container_id;
  if (const auto name = configured_name(subject)) subject.agent = *name;
  apply_run(subject);
  return subject;
}

std::optional<model::Subject> Subjects::now(std::uint32_t pid) {
  const auto facts = reader_.read(pid);
  if (!facts) return std::nullopt;
  model::Subject subject = identity_.resolve(facts->key, facts->cgroup_id);
  apply_run(subject);
  return subject;
}

const model::Subject& Subjects::subject(std::uint32_t tgid) {
  if (known_changes_ == identity_.changes()) {
    if (const auto it = known_.find(tgid); it != known_.end()) return it->second;
  }
  auto key = identity_.key_of(tgid);
  if (!key) {
    if (const auto it = ended_.find(tgid); it != ended_.end()) key = it->second;
  }
  current_ = identity_.resolve(key.value_or(model::ProcessKey{tgid, 0}));
  apply_run(current_);
  if (current_.agent.empty()) return current_;  // nothing is known of it: asked for again
  if (known_changes_ != identity_.changes() || known_.size() >= kMaxKnown) known_.clear();
  known_changes_ = identity_.changes();
  return known_[tgid] = std::move(current_);
}

std::string Subjects::program(std::uint32_t tgid) {
  const auto key = identity_.key_of(tgid);
  return key ? identity_.program(*key) : std::string();
}

std::vector<model::Subject> Subjects::ancestors(const model::Subject& subject) {
  std::vector<model::Subject> out;
  const std::vector<identity::Link> chain = identity_.delegation(subject.process).chain;
  for (std::size_t i = chain.size(); i-- > 1;) {  // the last link is the subject itself
    out.push_back(identity_.resolve(chain[i - 1].root));
    apply_run(out.back());
  }
  return out;
}

void Subjects::on_fork(const pn_ev_fork& event) {
  ended_.erase(event.child_tgid);
  identity_.on_fork(event.hdr.tgid, event.child_tgid, event.child_start_boot_ns);
}

void Subjects::on_exec(const pn_ev_exec& event) {
  identity_.on_exec(event.hdr.tgid, event.start_boot_ns,
                    std::string_view(event.path, ::strnlen(event.path, sizeof event.path)));
}

void Subjects::on_exit(const pn_ev_exit& event) {
  if (const auto key = identity_.key_of(event.hdr.tgid)) {
    if (ended_.size() >= kMaxEnded) ended_.clear();
    ended_[event.hdr.tgid] = *key;
  }
  identity_.on_exit(event.hdr.tgid, event.start_boot_ns);
}

void Subjects::for_each_process(const std::function<void(const model::Subject&)>& visit) {
  for (const std::uint32_t pid : reader_.pids()) {
    const auto key = identity_.key_of(pid);
    if (!key) continue;
    model::Subject subject = identity_.resolve(*key);
    apply_run(subject);
    visit(subject);
  }
}

}  // namespace penstock::daemon
