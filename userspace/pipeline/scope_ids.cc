#include "userspace/pipeline/scope_ids.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <set>
#include <string_view>

#include "bpf/include/penstock/wire.h"
#include "userspace/base/atomic_file.h"
#include "userspace/base/log.h"

namespace penstock::pipeline {
namespace {

constexpr std::string_view kHeader = "penstock-scopes 1\n";
constexpr std::uint32_t kAfterUnknown = PN_MAX_SCOPES / 2;

// Lines of "<number> <name>"; names hold no line breaks (id_of replaces them).
bool parse(std::string_view text, std::map<std::string, std::uint32_t>& out) {
  if (!text.starts_with(kHeader)) return false;
  text.remove_prefix(kHeader.size());
  std::set<std::uint32_t> seen;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return false;
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    std::uint32_t id = 0;
    const auto [rest, error] = std::from_chars(line.data(), line.data() + line.size(), id);
    if (error != std::errc{} || rest == line.data() + line.size() || *rest != ' ') return false;
    if (id == 0 || id >= PN_MAX_SCOPES || !seen.insert(id).second) return false;
    out.emplace(std::string(rest + 1, line.data() + line.size()), id);
  }
  return true;
}

}  // namespace

base::Result<ScopeIds> ScopeIds::open(const std::string& path) {
  ScopeIds made;
  made.path_ = path;
  if (path.empty()) return made;
  auto text = base::read_small_file(path);
  if (!text) {
    if (text.error().errno_ == ENOENT) return made;
    return std::move(text).error().at("scope numbers");
  }
  if (!parse(*text, made.ids_)) {
    base::log_warning("scope_ids unreadable file={} action=renumber", path);
    made.ids_.clear();
    made.next_ = kAfterUnknown;
    return made;
  }
  for (const auto& [name, id] : made.ids_) made.next_ = std::max(made.next_, id + 1);
  return made;
}

std::uint32_t ScopeIds::id_of(const std::string& name, const std::function<bool(std::uint32_t)>& in_use) {
  std::string clean = name;
  for (char& c : clean) {
    if (c == '\n') c = ' ';
  }
  if (const auto it = ids_.find(clean); it != ids_.end()) return it->second;
  std::uint32_t id = 0;
  if (next_ < PN_MAX_SCOPES) {
    id = next_++;
  } else {
    for (auto it = ids_.begin(); it != ids_.end(); ++it) {
      if (in_use(it->second)) continue;
      id = it->second;
      ids_.erase(it);
      break;
    }
    if (id == 0) {
      ++exhausted_;
      return 0;
    }
  }
  ids_.emplace(std::move(clean), id);
  save();
  return id;
}

void ScopeIds::save() {
  if (path_.empty()) return;
  std::string text(kHeader);
  for (const auto& [name, id] : ids_) text += fmt::format("{} {}\n", id, name);
  if (const auto saved = base::write_file_atomically(path_, text); !saved) {
    // The number is good for this process; after a restart its processes are looked at anew anyway.
    if (save_errors_++ == 0) base::log_warning("scope_ids not_saved error=\"{}\"", saved.error().message());
  }
}

}  // namespace penstock::pipeline
