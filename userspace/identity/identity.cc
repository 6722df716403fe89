#include "userspace/identity/identity.h"

#include <fmt/format.h>

#include <algorithm>

namespace penstock::identity {
namespace {

constexpr int kMaxDepth = 512;  // of ancestors looked at
constexpr std::uint64_t kTickNs = 10'000'000;

// Services that start other people's work: what runs in them is named by its program.
bool is_host_of_others(std::string_view unit) {
  for (const std::string_view prefix :
       {"user@",           "ssh",      "cron",   "atd",           "anacron", "containerd", "docker",
        "kubelet",         "crio",     "getty@", "serial-getty@", "gdm",     "sddm",       "lightdm",
        "display-manager", "systemd-", "dbus",   "k3s",           "podman",  "penstock",   "supervisor"})
    if (unit.starts_with(prefix)) return true;
  return false;
}

bool names_an_agent(std::string_view unit) {
  return unit.ends_with(".service") && !is_host_of_others(unit) &&
         !unit.starts_with("app-");  // app-*: a desktop's launcher
}

}  // namespace

std::string_view name(Delegation::Origin origin) {
  switch (origin) {
    case Delegation::Origin::kUnknown:
      return "unknown";
    case Delegation::Origin::kSession:
      return "session";
    case Delegation::Origin::kSchedule:
      return "schedule";
    case Delegation::Origin::kService:
      return "service";
    case Delegation::Origin::kContainer:
      return "container";
    case Delegation::Origin::kRun:
      return "run";
  }
  return "unknown";
}

Identity::Identity(Options options, ProcReader& reader, const base::Clock& clock)
    : options_(options), reader_(reader), clock_(clock) {}

// ---- the table ----------------------------------------------------------------------------------------------------

Identity::Process* Identity::find(const model::ProcessKey& key) {
  const auto it = table_.find({key.pid, whole_ticks(key.start_boot_ns)});
  return it == table_.end() ? nullptr : &it->second;
}

Identity::Process* Identity::find_or_read(const model::ProcessKey& key) {
  if (Process* p = find(key)) return p;
  const auto facts = reader_.read(key.pid);
  if (!facts || facts->key.start_boot_ns != whole_ticks(key.start_boot_ns)) return nullptr;
  return learn(*facts);
}

bool Identity::make_room() {
  if (table_.size() < options_.max_processes) return true;
  // The one that ended first. Its children lose an ancestor; that is less than losing a process.
  while (!ended_.empty()) {
    const auto it = table_.find(ended_.front());
    ended_.pop_front();
    if (it == table_.end()) continue;
    erase(it);
    return true;
  }
  ++counters_.refused;
  return false;
}

Identity::Process* Identity::insert(Process p) {
  if (const auto old = living_.find(p.key.pid); old != living_.end() && old->second != p.key)
    on_exit(old->second.pid, old->second.start_boot_ns);
  if (!table_.contains(p.key) && !make_room()) return nullptr;
  const auto [it, fresh] = table_.emplace(p.key, p);
  if (fresh) {
    ++changes_;
    if (Process* parent = find(it->second.parent)) ++parent->children;
    living_[p.key.pid] = p.key;
  }
  return &it->second;
}

void Identity::erase(Table::iterator it) {
  const model::ProcessKey key = it->first;
  model::ProcessKey parent = it->second.parent;
  table_.erase(it);
  ++changes_;
  if (const auto alive = living_.find(key.pid); alive != living_.end() && alive->second == key) living_.erase(alive);
  // Ancestors that were kept for their children only go with the last of them.
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    const auto up = table_.find(parent);
    if (up == table_.end()) return;
    if (up->second.children > 0) --up->second.children;
    if (up->second.children > 0 || !up->second.expired) return;
    parent = up->second.parent;
    table_.erase(up);
  }
}

std::shared_ptr<const Identity::Image> Identity::image_of(const ProcFacts& facts) const {
  auto image = std::make_shared<Image>();
  image->exe = facts.exe;
  image->comm = facts.comm;
  image->cgroup = facts.cgroup;
  image->program = describe_program(facts.exe.empty() ? facts.comm : facts.exe, facts.argv);
  image->cgroup_facts = parse_cgroup_path(facts.cgroup);
  if (!facts.container_cgroup.empty()) {
    const CgroupFacts other = parse_cgroup_path(facts.container_cgroup);
    image->cgroup_facts.pod_uid = other.pod_uid;
    image->cgroup_facts.container_id = other.container_id;
    image->cgroup_facts.runtime = other.runtime;
  }
  image->uid = facts.uid;
  image->cgroup_id = facts.cgroup_id;
  image->interactive = is_interactive_shell(facts.exe, facts.argv);
  image->boundary = facts.kernel_thread || facts.key.pid == 1 || is_session_boundary(facts.exe, facts.comm);
  return image;
}

Identity::Process* Identity::learn(const ProcFacts& facts) {
  if (Process* known = find(facts.key)) {
    known->image = image_of(facts);
    ++changes_;
    return known;
  }
  Process p;
  p.key = facts.key;
  p.image = image_of(facts);
  if (const auto parent = living_.find(facts.parent_pid); parent != living_.end()) {
    p.parent = parent->second;
    const Process& up = table_.at(parent->second);
    p.run = up.run;
    p.run_root = up.run_root;
  }
  return insert(std::move(p));
}

void Identity::scan() {
  std::map<std::uint32_t, ProcFacts> found;
  for (const std::uint32_t pid : reader_.pids())
    if (auto facts = reader_.read(pid)) found.emplace(pid, std::move(*facts));
  std::vector<model::ProcessKey> dead;
  for (const auto& [pid, key] : living_) {
    const auto it = found.find(pid);
    if (it == found.end() || it->second.key != key) dead.push_back(key);
  }
  for (const model::ProcessKey& key : dead) on_exit(key.pid, key.start_boot_ns);
  // Parents first: a child takes its run from them. Pids wrap, so their order says nothing; start times do.
  std::vector<const ProcFacts*> order;
  for (const auto& [pid, facts] : found) order.push_back(&facts);
  std::sort(order.begin(), order.end(), [](const ProcFacts* a, const ProcFacts* b) {
    return std::pair(a->key.start_boot_ns, a->key.pid) < std::pair(b->key.start_boot_ns, b->key.pid);
  });
  for (const ProcFacts* facts : order) {
    Process* p = learn(*facts);
    if (p == nullptr || p->parent.pid != 0) continue;
    // Started in the same tick as its parent, with a lower pid.
    const auto parent = living_.find(facts->parent_pid);
    if (parent == living_.end()) continue;
    p->parent = parent->second;
    ++changes_;
    ++table_.at(parent->second).children;
  }
}

void Identity::on_fork(std::uint32_t parent_pid, std::uint32_t child_pid, std::uint64_t child_start_boot_ns) {
  const auto parent_key = key_of(parent_pid);
  const Process* parent = parent_key ? find(*parent_key) : nullptr;
  const model::ProcessKey key{child_pid, whole_ticks(child_start_boot_ns)};
  if (parent == nullptr) {
    find_or_read(key);
    return;
  }
  Process child;
  child.key = key;
  child.parent = parent->key;
  child.image = parent->image;
  child.run = parent->run;
  child.run_root = parent->run_root;
  insert(std::move(child));
}

void Identity::on_exec(std::uint32_t pid, std::uint64_t start_boot_ns, std::string_view path) {
  const model::ProcessKey key{pid, whole_ticks(start_boot_ns)};
  const auto facts = reader_.read(pid);
  // One that is ending has no program any more, nor arguments.
  if (facts && facts->key == key && !facts->exe.empty()) {
    learn(*facts);
    return;
  }
  // Gone already: the event has the path; everything else is as it was before.
  ++counters_.unread;
  Process* p = find(key);
  if (p == nullptr) {
    Process fresh;
    fresh.key = key;
    p = insert(std::move(fresh));
    if (p == nullptr) return;
  }
  auto image = p->image ? std::make_shared<Image>(*p->image) : std::make_shared<Image>();
  // By this name a program runs itself again: it stays what it was, or what its parent was.
  if (path != "/proc/self/exe" || image->exe.empty()) image->exe = path;
  image->comm.clear();
  image->program = describe_program(image->exe, {});
  image->interactive = false;
  image->boundary = is_session_boundary(image->exe, {});
  image->agent_generation = 0;
  p->image = std::move(image);
  ++changes_;
}

void Identity::on_exit(std::uint32_t pid, std::uint64_t start_boot_ns) {
  const model::ProcessKey key{pid, whole_ticks(start_boot_ns)};
  Process* p = find(key);
  ++changes_;
  if (const auto alive = living_.find(pid); alive != living_.end() && alive->second == key) living_.erase(alive);
  if (p == nullptr || p->ended_ns != 0) return;
  p->ended_ns = std::max<std::uint64_t>(clock_.boot_ns(), 1);
  ended_.push_back(key);
}

void Identity::expire() {
  const std::uint64_t now = clock_.boot_ns();
  while (!ended_.empty()) {
    const auto it = table_.find(ended_.front());
    if (it != table_.end() && now - it->second.ended_ns < options_.grace_ns) return;  // the rest ended later
    ended_.pop_front();
    if (it == table_.end()) continue;
    if (it->second.children > 0)
      it->second.expired = true;
    else
      erase(it);
  }
}

std::optional<model::ProcessKey> Identity::key_of(std::uint32_t pid) {
  if (const auto alive = living_.find(pid); alive != living_.end()) return alive->second;
  const auto facts = reader_.read(pid);
  if (!facts) return std::nullopt;
  const Process* p = learn(*facts);
  return p == nullptr ? std::optional(facts->key) : p->key;
}

// ---- who ----------------------------------------------------------------------------------------------------------

model::Subject Identity::subject_of(const Process& p) const {
  model::Subject s;
  s.process = p.key;
  if (p.run) s.scope_id = p.run->scope_id;
  if (!p.image) return s;
  const Image& image = *p.image;
  const CgroupFacts& cgroup = image.cgroup_facts;
  s.exe = image.exe;
  s.user = reader_.user_name(image.uid);
  s.cgroup = image.cgroup;
  s.cgroup_id = image.cgroup_id;
  s.unit = cgroup.unit;
  s.container = cgroup.container_id;
  if (!cgroup.container_id.empty()) s.labels["container_id"] = cgroup.container_id;
  if (cgroup.pod_uid.empty()) return s;
  if (const auto pod = pods_.find(cgroup.pod_uid); pod != pods_.end()) {
    s.labels.insert(pod->second.labels.begin(), pod->second.labels.end());
    s.ns = pod->second.ns;
    s.pod = pod->second.name;
    if (const auto c = pod->second.containers.find(cgroup.container_id); c != pod->second.containers.end())
      s.container = c->second;
  }
  s.labels["pod_uid"] = cgroup.pod_uid;
  return s;
}

const std::string& Identity::agent_of(const Process& p) const {
  static const std::string kUnknown;
  if (p.run && !p.run->agent.empty()) return p.run->agent;
  if (!p.image) return kUnknown;
  const Image& image = *p.image;
  if (image.agent_generation == names_generation_) return image.agent;
  model::Subject subject = subject_of(p);
  const auto pod = pods_.find(image.cgroup_facts.pod_uid);
  if (pod != pods_.end()) {
    image.agent = fmt::format("{}/{}/{}", subject.ns, pod->second.workload.empty() ? subject.pod : pod->second.workload,
                              subject.container);
  } else if (names_an_agent(image.cgroup_facts.unit)) {
    image.agent = image.cgroup_facts.unit;
  } else {
    image.agent = to_string(image.program);
    if (image.uid != 0) image.agent += "@" + subject.user;
  }
  image.agent_generation = names_generation_;
  if (!namer_) return image.agent;
  subject.agent = image.agent;
  if (auto given = namer_(subject)) image.agent = std::move(*given);
  return image.agent;
}

bool Identity::is_boundary(const Process& above, const Process& below) const {
  if (above.run != below.run) return true;
  if (!above.image || !below.image) return true;
  if (above.image->boundary || above.image->interactive) return true;
  return above.image->cgroup_facts.container_id != below.image->cgroup_facts.container_id;
}

Identity::Process& Identity::root_of(Process& p) {
  Process* root = &p;
  Process* below = &p;
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    Process* above = find(below->parent);
    if (above == nullptr || is_boundary(*above, *below)) break;
    if (agent_of(*above) == agent_of(p)) root = above;
    below = above;
  }
  return *root;
}

std::string Identity::run_of(Process& p) {
  if (p.run) return p.run->id;
  const Process& root = root_of(p);
  return fmt::format("{}/{}-{}", agent_of(p), root.key.pid, root.key.start_boot_ns / kTickNs);
}

model::Subject Identity::resolve(const model::ProcessKey& key, std::uint64_t cgroup_id) {
  Process* p = find_or_read(key);
  if (p == nullptr) {
    model::Subject unknown;
    unknown.process = {key.pid, whole_ticks(key.start_boot_ns)};
    unknown.cgroup_id = cgroup_id;
    return unknown;
  }
  if (cgroup_id != 0 && p->image && p->image->cgroup_id != cgroup_id && p->ended_ns == 0) {
    const auto facts = reader_.read(key.pid);
    if (facts && facts->key == p->key) {
      p->image = image_of(*facts);
      ++changes_;
    }
  }
  model::Subject s = subject_of(*p);
  s.agent = agent_of(*p);
  s.run = run_of(*p);
  s.run_root = p->run ? p->run_root : root_of(*p).key;
  return s;
}

Delegation Identity::delegation(const model::ProcessKey& key) {
  Delegation out;
  Process* p = find_or_read(key);
  if (p == nullptr) return out;
  const auto link = [&](Process& q) { return Link{agent_of(q), run_of(q), q.run ? q.run_root : root_of(q).key}; };
  out.chain.push_back(link(*p));
  Process* below = p;
  const Process* boundary = nullptr;
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    Process* above = find(below->parent);
    if (above == nullptr) break;
    // An explicit run inside another one is not where the work began.
    const bool nested_run = above->run != below->run && above->run != nullptr;
    if (!nested_run && is_boundary(*above, *below)) {
      boundary = above;
      break;
    }
    if ((above->talks || above->run) && out.chain.back().run != run_of(*above)) out.chain.push_back(link(*above));
    below = above;
  }
  describe_origin(boundary, *below, out);
  std::reverse(out.chain.begin(), out.chain.end());
  return out;
}

void Identity::describe_origin(const Process* boundary, const Process& below, Delegation& out) const {
  using Origin = Delegation::Origin;
  if (below.run) {
    out.origin = Origin::kRun;
    out.by = below.run->id;
    return;
  }
  const CgroupFacts* cgroup = below.image ? &below.image->cgroup_facts : nullptr;
  if (cgroup != nullptr && !cgroup->container_id.empty()) {
    out.origin = Origin::kContainer;
    out.by = cgroup->container_id;
    return;
  }
  if (boundary == nullptr || !boundary->image) return;
  out.by = boundary->image->program.name;
  const std::string& by = out.by;
  if (by == "cron" || by == "crond" || by == "atd" || by == "anacron") {
    out.origin = Origin::kSchedule;
  } else if (boundary->key.pid == 1 || by == "systemd" || by == "supervisord") {
    out.origin = Origin::kService;
    if (cgroup != nullptr && !cgroup->unit.empty()) out.by = cgroup->unit;
  } else {
    out.origin = Origin::kSession;
  }
}

std::vector<model::ProcessKey> Identity::processes_of_run(const std::string& run) {
  std::vector<model::ProcessKey> out;
  for (const auto& [pid, key] : living_)
    if (run_of(table_.at(key)) == run) out.push_back(key);
  std::sort(out.begin(), out.end());
  return out;
}

std::string Identity::program(const model::ProcessKey& key) {
  const Process* p = find_or_read(key);
  return p != nullptr ? to_string(p->image->program) : std::string();
}

std::vector<model::ProcessKey> Identity::note_agent(const model::ProcessKey& key) {
  std::vector<model::ProcessKey> affected;
  Process* p = find_or_read(key);
  if (p == nullptr || p->noted == changes_) return affected;
  Process& root = root_of(*p);
  const bool news = (!p->talks && p->children > 0) || (!root.talks && root.children > 0);
  p->talks = true;
  p->noted = changes_;
  root.talks = true;
  if (!news) return affected;
  for (const auto& [pid, living] : living_)
    if (living != key && living != root.key && descends_from(living, p->key, root.key)) affected.push_back(living);
  return affected;
}

bool Identity::descends_from(const model::ProcessKey& key, const model::ProcessKey& one,
                             const model::ProcessKey& other) {
  const Process* p = find(key);
  for (int depth = 0; depth < kMaxDepth && p != nullptr; ++depth, p = find(p->parent))
    if (p->key == one || p->key == other) return true;
  return false;
}

bool Identity::acts_for_agent(const model::ProcessKey& key) {
  const Process* p = find_or_read(key);
  for (int depth = 0; depth < kMaxDepth && p != nullptr; ++depth, p = find(p->parent))
    if (p->talks || p->run) return true;
  return false;
}

void Identity::assign_run(const model::ProcessKey& root, ExplicitRun run) {
  Process* p = find_or_read(root);
  if (p == nullptr) return;
  const auto shared = std::make_shared<const ExplicitRun>(std::move(run));
  p->run = shared;
  p->run_root = p->key;
  ++changes_;
  // What it started before is part of it too.
  for (auto& [key, process] : table_) {
    const Process* up = &process;
    for (int depth = 0; depth < kMaxDepth && up != nullptr; ++depth, up = find(up->parent)) {
      if (up != p) continue;
      process.run = shared;
      process.run_root = p->key;
      break;
    }
  }
}

void Identity::set_namer(Namer namer) {
  namer_ = std::move(namer);
  ++names_generation_;
  ++changes_;
}

void Identity::set_pod(const std::string& uid, PodInfo info) {
  if (pods_.size() >= options_.max_pods && !pods_.contains(uid)) pods_.erase(pods_.begin());
  pods_[uid] = std::move(info);
  ++names_generation_;
  ++changes_;
}

void Identity::forget_pod(const std::string& uid) {
  pods_.erase(uid);
  ++names_generation_;
  ++changes_;
}

Stats Identity::stats() const {
  Stats out = counters_;
  out.processes = table_.size();
  out.ended = table_.size() - living_.size();
  return out;
}

}  // namespace penstock::identity
