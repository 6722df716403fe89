// What the pipeline needs from the world beside the gate: who processes are, and who wants to know what happened.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bpf/include/penstock/wire.h"
#include "userspace/base/result.h"
#include "userspace/ledger/ledger.h"
#include "userspace/model/exchange.h"
#include "userspace/pipeline/unseen.h"

namespace penstock::pipeline {

// Who a process is. Pipeline thread only.
class SubjectSource {
 public:
  virtual ~SubjectSource() = default;
  // Never fails: what cannot be found out is empty. Valid until the next call of any member.
  virtual const model::Subject& subject(std::uint32_t tgid) = 0;
  // What it runs ("node:server.mjs"), whoever it acts for.
  virtual std::string program(std::uint32_t tgid) = 0;
  // The agents on whose behalf it acts, nearest first.
  virtual std::vector<model::Subject> ancestors(const model::Subject& subject) = 0;
  virtual void on_fork(const pn_ev_fork& event) = 0;
  virtual void on_exec(const pn_ev_exec& event) = 0;
  virtual void on_exit(const pn_ev_exit& event) = 0;
  // The process is in another cgroup now.
  virtual void on_moved(std::uint32_t tgid) = 0;
  // Every live process on the host, looked at anew.
  virtual void for_each_process(const std::function<void(const model::Subject&)>& visit) = 0;
};

// Freezing and ending processes on a person's order.
class ProcessControl {
 public:
  virtual ~ProcessControl() = default;
  virtual base::Result<> freeze(const model::Subject& subject, bool frozen) = 0;
  virtual base::Result<> sigkill(const model::ProcessKey& process) = 0;
};

// How a process encrypts. Pipeline thread only.
class TlsKnowledge {
 public:
  virtual ~TlsKnowledge() = default;
  // Of what is probed in it; empty: nothing is. From memory.
  virtual std::string runtime_of(std::uint32_t pid) = 0;
  // Why its plaintext may be missing, as far as its memory map tells. kNotExamined: ask again. May wait for files.
  virtual std::optional<Unseen> reason_of(std::uint32_t pid) = 0;
  // It begins to talk to an AI endpoint: what reason_of() will need is looked up while it lives. Does not wait.
  virtual void look(std::uint32_t /*pid*/) {}
};

// What takes how long, for distributions.
enum class Span : std::uint8_t {
  kCloseToEvent,  // the kernel closed a gate until the daemon heard of it
  kDecide,        // one verdict, reservation included
  kRelease,       // the map write of an admission and the push
  kKill,          // a kill order until this connection was destroyed
};

// Times between the chunks of one streamed answer; chunks that arrive together are one. Bucket n counts what took no
// longer than 10 ms · 2ⁿ, the last one everything longer.
struct ChunkTimes {
  static constexpr std::size_t kBuckets = 15;
  std::array<std::uint32_t, kBuckets> counts{};
  std::uint64_t sum_ns = 0;
  std::optional<std::uint64_t> last_ns;  // since the request began

  void note(std::uint64_t at_ns) {
    if (last_ns && at_ns > *last_ns) {
      const std::uint64_t gap = at_ns - *last_ns;
      std::size_t bucket = 0;
      while (bucket + 1 < kBuckets && gap > (std::uint64_t{10'000'000} << bucket)) ++bucket;
      ++counts[bucket];
      sum_ns += gap;
    }
    if (!last_ns || at_ns > *last_ns) last_ns = at_ns;
  }
};

// Told about everything that is decided and everything that ends. Must not block; keeps nothing by reference.
class Observer {
 public:
  virtual ~Observer() = default;
  // Final: called once for each exchange that began.
  virtual void on_exchange(const model::Exchange& exchange) = 0;
  // A verdict was given, or (`would`) one that an observed policy would have given.
  // `text`: one line for people; empty for a plain allow.
  virtual void on_verdict(const model::Exchange& exchange, const model::Verdict& verdict, bool would,
                          std::string_view text) = 0;
  // A request stopped being held, whatever became of it.
  virtual void on_hold_ended(const model::Exchange& exchange, std::string_view reason, std::uint64_t held_ns) = 0;
  virtual void on_soft_crossing(const ledger::SoftCrossing& crossing) = 0;
  // Processes, after the pipeline has taken note itself.
  virtual void on_fork(std::uint32_t /*child*/) {}
  virtual void on_exec(std::uint32_t /*process*/) {}
  virtual void on_exit(std::uint32_t /*process*/) {}
  // Which policies hold for it was looked at: at its exec, and when they or its agents change.
  virtual void on_placed(const model::Subject& /*process*/, bool /*gated*/) {}
  // `provider`: of the connection's last call, where that matters.
  virtual void on_span(Span /*what*/, std::uint64_t /*ns*/, std::string_view /*provider*/) {}
  // Before on_exchange(), for an answer that came in chunks.
  virtual void on_chunks(const model::Exchange&, const ChunkTimes&) {}
  // An answer outgrew a budget and is cut: by how many tokens a budget in tokens is exceeded at that moment.
  virtual void on_cut(const model::Exchange&, std::uint64_t /*tokens_beyond*/) {}
};

}  // namespace penstock::pipeline
