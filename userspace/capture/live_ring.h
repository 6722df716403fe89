// The live EventSource: both rings of the kernel, merged by time.
//
// Why merge: a request's plaintext travels in the verdict ring, answers in the event ring; budgets need the answer to
// the last request before the next request. If A caused B, A is visible when B is seen and A's time stamp is earlier,
// so taking the earlier head of the two keeps cause before effect. (A record still being written hides what is behind
// it; we wait for it a moment, bounded.)
//
// Why a timer: waking a reader costs the observed program more than copying does. Payload records do not wake; while
// traffic flows the rings are looked at every kPollNs, and when none flows the kernel is told (pn_ctl.sleeping) to wake
// us with the next event. Gated writes always wake, if need be: when their plaintext is there, so that we are up when
// the gate closes a few microseconds later.
#pragma once

#include <cstdint>

#include "userspace/base/fd.h"
#include "userspace/capture/core/event_source.h"
#include "userspace/capture/ring.h"

namespace penstock::capture {

class LiveRing final : public EventSource {
 public:
  base::Result<> open(int events_fd, int verdicts_fd, pn_ctl_val* control);

  base::Result<std::size_t> poll(EventSink& sink, int timeout_ms, std::size_t budget) override;
  void wake() override;

  const Ring& events() const { return events_; }
  const Ring& verdicts() const { return verdicts_; }

 private:
  std::size_t drain(EventSink& sink, std::size_t budget);
  base::Result<> wait(std::uint64_t timeout_ns);

  Ring events_;
  Ring verdicts_;
  base::Fd epoll_;
  base::Fd wakeup_;  // eventfd
  pn_ctl_val* control_ = nullptr;
  std::uint64_t last_event_boot_ns_ = 0;
  bool gate_follows_ = false;  // the last verdict record was provisional plaintext
};

}  // namespace penstock::capture
