#include "userspace/daemon/process_tls.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
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

struct Answer {
  std::optional<pipeline::Unseen> reason;
  bool ended = false;  // what the process had mapped is not known any more
};

}  // namespace

// What is asked about a process: all that the loop's thread knows.
struct ProcessTlsReader::Question {
  struct Image {
    std::string path;
    bool failed = false;  // its probes could not be attached
    locators::Analysis analysis;
  };
  std::uint32_t pid = 0;
  std::string runtime;
  bool examining = false;  // some image of the host is still being looked at
  std::vector<Image> images;
};

// One question at a time, passed by the members under the lock.
struct ProcessTlsReader::Worker {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Question> question;  // the worker takes it
  std::optional<Answer> answered;
  std::uint32_t pid = 0;  // whom the worker looks at, or looked at last
  bool busy = false;
  bool stop = false;

  static Answer answer(const Question& question);

  void run() {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [this] { return stop || question; });
      if (stop) return;
      const Question now = *std::exchange(question, std::nullopt);
      lock.unlock();
      Answer found = answer(now);
      lock.lock();
      answered = std::move(found);
      busy = false;
      changed.notify_all();
    }
  }
};

Answer ProcessTlsReader::Worker::answer(const Question& question) {
  const std::vector<Mapping> code = code_of(question.pid);
  bool missed = false, removed = false;
  for (const Question::Image& image : question.images) {
    missed = missed || image.failed || !image.analysis.misses.empty();
    for (const locators::AttachPlan& plan : image.analysis.plans)
      removed =
          removed || (!image.failed && plan.sees_plaintext() && probe_removed(question.pid, code, image.path, plan));
  }
  const bool ended = code.empty();
  if (runs_a_jvm(code)) return {pipeline::Unseen::kJava, ended};
  if (removed) return {pipeline::Unseen::kProbeRemoved, ended};
  if (!question.runtime.empty()) return {std::nullopt, ended};
  if (missed) return {pipeline::Unseen::kNoProbe, ended};
  if (question.examining) return {pipeline::Unseen::kNotExamined, ended};
  return {std::nullopt, ended};
}

ProcessTlsReader::ProcessTlsReader(const std::unique_ptr<Probes>& probes, const base::Clock& clock)
    : probes_(probes), clock_(clock), worker_(std::make_shared<Worker>()) {
  // Not joined: it may wait for a process that never answers.
  std::thread([worker = worker_] { worker->run(); }).detach();
}

ProcessTlsReader::~ProcessTlsReader() {
  const std::lock_guard lock(worker_->mutex);
  worker_->stop = true;
  worker_->changed.notify_all();
}

std::string ProcessTlsReader::runtime_of(std::uint32_t pid) {
  if (!probes_) return {};
  for (const auto& image : probes_->discovery().images_of(pid)) {
    if (!probes_->failure(image.id).empty()) continue;
    for (const locators::AttachPlan& plan : image.analysis.plans)
      if (plan.sees_plaintext()) return plan.runtime;
  }
  return {};
}

ProcessTlsReader::Question ProcessTlsReader::question_about(std::uint32_t pid) {
  Question question{pid, runtime_of(pid), probes_->pending() > 0, {}};
  for (auto& image : probes_->discovery().images_of(pid))
    question.images.push_back({image.path, !probes_->failure(image.id).empty(), std::move(image.analysis)});
  return question;
}

bool ProcessTlsReader::fresh(std::uint32_t pid) const {
  const auto it = known_.find(pid);
  return it != known_.end() && it->second.reason != pipeline::Unseen::kNotExamined &&
         clock_.boot_ns() - it->second.at_boot_ns < kFreshNs;
}

void ProcessTlsReader::collect() {
  if (!worker_->answered) return;
  if (known_.size() >= kMaxKnown) known_.clear();
  const auto [it, first] = known_.try_emplace(worker_->pid);
  const Answer answer = *std::exchange(worker_->answered, std::nullopt);
  if (first || !answer.ended) it->second.reason = answer.reason;
  it->second.at_boot_ns = clock_.boot_ns();
}

void ProcessTlsReader::ask(Question question) {
  if (worker_->busy) return;
  worker_->pid = question.pid;
  worker_->question = std::move(question);
  worker_->busy = true;
  worker_->changed.notify_all();
}

void ProcessTlsReader::look(std::uint32_t pid) {
  if (!probes_ || fresh(pid)) return;
  Question question = question_about(pid);
  const std::lock_guard lock(worker_->mutex);
  collect();
  ask(std::move(question));
}

std::optional<pipeline::Unseen> ProcessTlsReader::reason_of(std::uint32_t pid) {
  if (!probes_) return std::nullopt;
  if (!fresh(pid)) {
    Question question = question_about(pid);
    std::unique_lock lock(worker_->mutex);
    collect();
    ask(std::move(question));
    if (worker_->pid == pid)
      worker_->changed.wait_for(lock, std::chrono::nanoseconds(kPatienceNs), [this] { return !worker_->busy; });
    collect();
  }
  const auto known = known_.find(pid);
  return known != known_.end() ? known->second.reason : pipeline::Unseen::kNotExamined;
}

}  // namespace penstock::daemon
