#include "userspace/daemon/runs.h"

#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "userspace/api/message_json.h"
#include "userspace/base/atomic_file.h"
#include "userspace/base/log.h"
#include "userspace/model/names.h"

namespace penstock::daemon {
namespace {

constexpr char kParent[] = "/penstock";

// Names travel into paths, metric labels and selectors.
std::string plain_name(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 64)) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    out += plain ? c : '-';
  }
  while (!out.empty() && (out.front() == '.' || out.front() == '-')) out.erase(0, 1);
  return out.empty() ? "run" : out;
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

base::Result<std::string> random_suffix() {
  std::array<unsigned char, 5> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return base::errno_error(errno, "getrandom");
  std::string out;
  for (const unsigned char byte : bytes) out += fmt::format("{:02x}", byte);
  return out;
}

// Parent of a process, and who it runs as; nullopt: gone.
struct ParentOf {
  std::uint32_t ppid = 0;
  uid_t uid = 0;
};
std::optional<ParentOf> parent_of(std::uint32_t pid) {
  const std::string folder = fmt::format("/proc/{}", pid);
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0) return std::nullopt;
  const auto stat = base::read_small_file(folder + "/stat");
  if (!stat) return std::nullopt;
  const std::size_t end = stat->rfind(')');  // the name may hold anything, also ')'
  if (end == std::string::npos || end + 4 >= stat->size()) return std::nullopt;
  ParentOf out;
  out.uid = info.st_uid;
  const char* at = stat->data() + end + 4;  // ") S "
  if (std::from_chars(at, stat->data() + stat->size(), out.ppid).ec != std::errc{}) return std::nullopt;
  return out;
}

}  // namespace

base::Result<> Runs::add_policies(const Run& run) {
  const api::CreateRunRequest& request = run.request;
  policy::RunLimits limits;
  if (request.has_max_nano_usd()) limits.max_usd = model::NanoUsd{request.max_nano_usd()};
  if (request.has_max_tokens()) limits.max_tokens = request.max_tokens();
  if (request.has_max_requests()) limits.max_requests = request.max_requests();
  limits.mode = model::mode_from(run.mode);
  const bool has_limits = limits.max_usd || limits.max_tokens || limits.max_requests || request.has_mode();
  return policies_.add_run(run.id, limits, has_limits, request.policy(),
                           request.policy_file().empty() ? "policy" : request.policy_file());
}

base::Result<bool> Runs::attach(Run& run, const api::Peer& peer, std::uint32_t pid) {
  // Only what the caller could have moved or traced by itself: its own child, of its own user.
  const auto parent = parent_of(pid);
  if (!parent) return base::Error{base::ErrorCode::kNotFound, 0, fmt::format("no process {}", pid), {}};
  const bool root = peer.uid == 0;
  if (!root && (parent->uid != peer.uid || parent->ppid != static_cast<std::uint32_t>(peer.pid))) {
    return base::Error{
        base::ErrorCode::kPrivilege, EPERM, fmt::format("process {} is not a child of the caller", pid), {}};
  }
  PN_CHECK(cgroups_.attach(run.cgroup, pid));
  if (const auto key = host_.process(pid)) run.root = *key;
  return true;
}

base::Result<const Run*> Runs::create(const api::Peer& peer, const api::CreateRunRequest& request, bool& attached) {
  if (running() >= kMaxRunning)
    return base::Error{base::ErrorCode::kFailure, 0, "too many runs at once", "finish some"};
  if (request.has_mode() && !model::mode_from(request.mode())) {
    return base::Error{base::ErrorCode::kUsage, 0, fmt::format("unknown mode \"{}\"", request.mode()),
                       "observe, enforce or strict"};
  }
  if (request.max_nano_usd() < 0) return base::Error{base::ErrorCode::kUsage, 0, "a limit below 0", {}};
  Run run;
  run.request = request;
  run.agent = plain_name(!request.name().empty()      ? request.name()
                         : request.command_size() > 0 ? base_name(request.command(0))
                                                      : "run");
  PN_TRY(const std::string suffix, random_suffix());
  run.id = run.agent + "-" + suffix;
  run.cgroup = std::string(kParent) + "/" + run.id;
  const bool limited =
      request.has_max_nano_usd() || request.has_max_tokens() || request.has_max_requests() || !request.policy().empty();
  run.mode = request.has_mode() ? request.mode() : limited ? "enforce" : "observe";
  run.started_real_ns = clock_.real_ns();
  if (const auto owner = host_.process(static_cast<std::uint32_t>(peer.pid))) run.owner = *owner;

  PN_CHECK(add_policies(run));
  const auto undo = [&](base::Error error) {
    policies_.remove_run(run.id);
    return error;
  };
  if (auto made = cgroups_.create(run.cgroup); !made) return undo(std::move(made).error());
  const auto remove_too = [&](base::Error error) {
    if (const auto removed = cgroups_.remove(run.cgroup); !removed)
      base::log_warning("run cgroup_not_removed run={} error=\"{}\"", run.id, removed.error().message());
    return undo(std::move(error));
  };
  auto id = cgroups_.id(cgroups_.directory(run.cgroup));
  if (!id) return remove_too(std::move(id).error());
  run.cgroup_id = *id;
  host_.run_started(run);  // in force before its first process arrives
  attached = false;
  if (request.has_pid()) {
    auto moved = attach(run, peer, request.pid());
    if (!moved) {
      host_.run_ended(run);
      return remove_too(std::move(moved).error());
    }
    attached = *moved;
    if (run.root.pid != 0) host_.run_process(run);
  }
  ++created_;
  const Run* kept = &(runs_[run.id] = std::move(run));
  save();
  return kept;
}

base::Result<> Runs::restore() {
  if (file_.empty()) return {};
  auto text = base::read_small_file(file_, std::size_t{16} << 20);
  if (!text) {
    if (text.error().errno_ == ENOENT) return {};
    return std::move(text).error().at("runs");
  }
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    // "<id> <agent> <cgroup> <mode> <started> <owner pid> <owner start> <root pid> <root start> <request as JSON>"
    std::vector<std::string> words;
    std::string_view at = line;
    for (int i = 0; i < 9; ++i) {
      const std::size_t space = at.find(' ');
      if (space == std::string_view::npos) break;
      words.emplace_back(at.substr(0, space));
      at.remove_prefix(space + 1);
    }
    Run run;
    if (words.size() != 9 || !api::from_json(at, run.request)) {
      base::log_warning("runs unreadable_line file={}", file_);
      continue;
    }
    run.id = words[0];
    run.agent = words[1];
    run.cgroup = words[2];
    run.mode = words[3];
    const auto number = [&words](std::size_t i) { return std::strtoull(words[i].c_str(), nullptr, 10); };
    run.started_real_ns = static_cast<std::int64_t>(number(4));
    run.owner = {static_cast<std::uint32_t>(number(5)), number(6)};
    run.root = {static_cast<std::uint32_t>(number(7)), number(8)};
    const auto id = cgroups_.id(cgroups_.directory(run.cgroup));
    if (!id) continue;  // ended while nobody looked
    run.cgroup_id = *id;
    if (const auto added = add_policies(run); !added) {
      base::log_error("run policies_not_restored run={} error=\"{}\"", run.id, added.error().message());
      continue;
    }
    host_.run_started(run);
    if (run.root.pid != 0) host_.run_process(run);
    runs_[run.id] = std::move(run);
  }
  return {};
}

void Runs::save() {
  if (file_.empty()) return;
  std::string text;
  for (const auto& [id, run] : runs_) {
    if (run.ended_real_ns != 0) continue;
    text += fmt::format("{} {} {} {} {} {} {} {} {} {}\n", run.id, run.agent, run.cgroup, run.mode, run.started_real_ns,
                        run.owner.pid, run.owner.start_boot_ns, run.root.pid, run.root.start_boot_ns,
                        api::to_json(run.request));
  }
  if (const auto saved = base::write_file_atomically(file_, text); !saved)
    base::log_warning("runs not_saved error=\"{}\"", saved.error().message());
}

void Runs::end(Run& run) {
  if (run.ended_real_ns != 0) return;
  run.ended_real_ns = clock_.real_ns();
  // Its members fall under the remaining policies from here on; the cgroup goes when it is empty.
  policies_.remove_run(run.id);
  host_.run_ended(run);
  if (!cgroups_.remove(run.cgroup)) to_remove_.push_back(run.cgroup);
  finished_.push_back(run.id);
  if (finished_.size() > kMaxFinished) {
    runs_.erase(finished_.front());
    finished_.erase(finished_.begin());
  }
}

base::Result<const Run*> Runs::finish(const std::string& id, std::optional<std::int32_t> exit_code) {
  const auto it = runs_.find(id);
  if (it == runs_.end())
    return base::Error{base::ErrorCode::kNotFound, 0, "no run " + id, "penstock agents shows the runs"};
  if (exit_code) it->second.exit_code = exit_code;
  end(it->second);
  save();
  return &it->second;
}

const Run* Runs::find(const std::string& id) const {
  const auto it = runs_.find(id);
  return it == runs_.end() ? nullptr : &it->second;
}

std::size_t Runs::running() const {
  return static_cast<std::size_t>(
      std::count_if(runs_.begin(), runs_.end(), [](const auto& r) { return r.second.ended_real_ns == 0; }));
}

void Runs::sweep() {
  std::erase_if(to_remove_,
                [this](const std::string& path) { return cgroups_.empty(path) && cgroups_.remove(path).has_value(); });
  std::vector<std::string> abandoned;
  for (const auto& [id, run] : runs_) {
    if (run.ended_real_ns != 0 || !cgroups_.empty(run.cgroup)) continue;
    const auto owner = run.owner.pid == 0 ? std::nullopt : host_.process(run.owner.pid);
    if (!owner || *owner != run.owner) abandoned.push_back(id);
  }
  for (const std::string& id : abandoned) {
    base::log_info("run abandoned run={}", id);
    end(runs_.at(id));
  }
  if (!abandoned.empty()) save();
}

void Runs::finish_all() {
  for (auto& [id, run] : runs_) {
    if (run.ended_real_ns == 0) end(run);
  }
  save();
}

}  // namespace penstock::daemon
