// How a process encrypts: what of it is probed, whether the probes are still there, and whether it runs a JVM.
//
// The files that tell are read by a thread of its own: they wait for a lock of the process, which a busy or hostile
// process can keep. The event loop waits kPatience for an answer; what comes later serves the next question.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "userspace/base/clock.h"
#include "userspace/daemon/probes.h"
#include "userspace/pipeline/ports.h"

namespace penstock::daemon {

class ProcessTlsReader final : public pipeline::TlsKnowledge {
 public:
  static constexpr std::uint64_t kPatienceNs = 2'000'000;
  static constexpr std::uint64_t kFreshNs = 1'000'000'000;
  static constexpr std::size_t kMaxKnown = 4096;  // processes; all are forgotten beyond

  // `probes` may not be there yet when this is made.
  ProcessTlsReader(const std::unique_ptr<Probes>& probes, const base::Clock& clock);
  ~ProcessTlsReader() override;
  std::string runtime_of(std::uint32_t pid) override;
  std::optional<pipeline::Unseen> reason_of(std::uint32_t pid) override;
  void look(std::uint32_t pid) override;

 private:
  struct Worker;
  struct Question;
  struct Known {
    std::optional<pipeline::Unseen> reason;
    std::uint64_t at_boot_ns = 0;
  };
  Question question_about(std::uint32_t pid);
  bool fresh(std::uint32_t pid) const;
  void ask(Question question);  // with the worker's lock held, as collect()
  void collect();

  const std::unique_ptr<Probes>& probes_;
  const base::Clock& clock_;
  std::shared_ptr<Worker> worker_;  // outlives us while it waits for a process
  std::map<std::uint32_t, Known> known_;
};

}  // namespace penstock::daemon
