// What the pipeline needs from the world beside the gate: who processes are, and who wants to know what happened.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "bpf/include/penstock/wire.h"
#include "userspace/base/result.h"
#include "userspace/ledger/ledger.h"
#include "userspace/model/exchange.h"

namespace penstock::pipeline {

// Who a process is. Pipeline thread only.
class SubjectSource {
 public:
  virtual ~SubjectSource() = default;
  // Never fails: what cannot be found out is empty. Valid until the next call of any member.
  virtual const model::Subject& subject(std::uint32_t tgid) = 0;
  virtual void on_fork(const pn_ev_fork& event) = 0;
  virtual void on_exec(const pn_ev_exec& event) = 0;
  virtual void on_exit(const pn_ev_exit& event) = 0;
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
};

}  // namespace penstock::pipeline
