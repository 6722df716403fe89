#include "userspace/daemon/process_tls.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::daemon {
namespace {

// What the kernel puts in place of a probed instruction: a breakpoint, or (on a long nop) a call.
constexpr unsigned char kBreakpoint = 0xcc, kCall = 0xe8;
constexpr std::size_t kMaxMapLines = 8192;

struct Mapping {
  std::uint64_t begin = 0, end = 0, file_offset = 0;
  std::string path;
};

std::uint64_t hex(std::string_view& text) {
  std::uint64_t value = 0;
  const auto done = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  text.remove_prefix(static_cast<std::size_t>(done.ptr - text.data()));
  return value;
}

// begin-end perms offset dev inode path
std::vector<Mapping> code_of(std::uint32_t pid) {
  std::vector<Mapping> out;
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  std::string line;
  for (std::size_t n = 0; n < kMaxMapLines && std::getline(maps, line); ++n) {
    std::string_view rest = line;
    Mapping mapping;
    mapping.begin = hex(rest);
    if (rest.empty()) continue;
    rest.remove_prefix(1);
    mapping.end = hex(rest);
    if (rest.size() < 6 || rest[3] != 'x') continue;
    rest.remove_prefix(6);
    mapping.file_offset = hex(rest);
    if (const std::size_t slash = rest.find('/'); slash != std::string_view::npos) mapping.path = rest.substr(slash);
    out.push_back(std::move(mapping));
  }
  return out;
}

bool runs_a_jvm(const std::vector<Mapping>& code) {
  return std::any_of(code.begin(), code.end(), [](const Mapping& m) { return m.path.ends_with("/libjvm.so"); });
}

// Some probed instruction of this image is the program's own again.
bool probe_removed(std::uint32_t pid, const std::vector<Mapping>& code, const std::string& path,
                   const locators::AttachPlan& plan) {
  const base::Fd memory(::open(("/proc/" + std::to_string(pid) + "/mem").c_str(), O_RDONLY | O_CLOEXEC));
  if (!memory) return false;
  for (const locators::ProbeSite& site : plan.sites) {
    const auto holder = std::find_if(code.begin(), code.end(), [&](const Mapping& m) {
      return m.path == path && site.entry_offset >= m.file_offset &&
             site.entry_offset - m.file_offset < m.end - m.begin;
    });
    if (holder == code.end()) continue;
    unsigned char byte = 0;
    const auto at = static_cast<off_t>(holder->begin + (site.entry_offset - holder->file_offset));
    if (::pread(memory.get(), &byte, 1, at) == 1 && byte != kBreakpoint && byte != kCall) return true;
  }
  return false;
}

}  // namespace

pipeline::ProcessTls ProcessTlsReader::tls_of(std::uint32_t pid) {
  pipeline::ProcessTls out;
  if (!probes_) return out;
  const std::vector<Mapping> code = code_of(pid);
  bool missed = false, removed = false;
  for (const auto& image : probes_->discovery().images_of(pid)) {
    const bool failed = !probes_->failure(image.id).empty();
    missed = missed || failed || !image.analysis.misses.empty();
    for (const locators::AttachPlan& plan : image.analysis.plans) {
      if (failed || !plan.sees_plaintext()) continue;
      if (out.runtime.empty()) out.runtime = plan.runtime;
      removed = removed || probe_removed(pid, code, image.path, plan);
    }
  }
  if (runs_a_jvm(code)) {
    out.reason = pipeline::Unseen::kJava;
  } else if (removed) {
    out.reason = pipeline::Unseen::kProbeRemoved;
  } else if (out.runtime.empty() && missed) {
    out.reason = pipeline::Unseen::kNoProbe;
  } else if (out.runtime.empty() && probes_->pending() > 0) {
    out.reason = pipeline::Unseen::kNotExamined;
  }
  return out;
}

}  // namespace penstock::daemon
