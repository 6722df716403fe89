#include "userspace/capture/live_ring.h"

#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "userspace/base/clock.h"

namespace penstock::capture {
namespace {

constexpr std::uint64_t kPollNs = 10'000'000;  // while traffic flows: whoever waits for a verdict wakes us at once
constexpr std::uint64_t kQuietAfterNs = 50'000'000;  // without traffic for this long: block until woken
constexpr std::uint64_t kWritingNs = 200'000;        // a record is being written
constexpr int kGateTurns = 100;                      // of waiting for a gate to close, before we sleep again
constexpr int kBusySpins = 2000;                     // for a record that is being written; tens of microseconds

template <class Event>
const Event* as(std::span<const std::uint8_t> record) {
  return record.size() >= sizeof(Event) ? reinterpret_cast<const Event*>(record.data()) : nullptr;
}

const pn_ev_hdr* header_of(std::span<const std::uint8_t> record) {
  const auto* hdr = as<pn_ev_hdr>(record);
  return hdr != nullptr && hdr->version == PN_WIRE_VERSION ? hdr : nullptr;
}

using Record = std::span<const std::uint8_t>;

void send(EventSink& sink, const pn_ev_data& event, Record record) {
  const Record payload = record.subspan(sizeof event);
  if (payload.size() < event.len) return sink.on_malformed(record);
  sink.on_data(event, payload.first(event.len));
}
void send(EventSink& sink, const pn_ev_hello& event, Record record) {
  const Record payload = record.subspan(sizeof event);
  if (payload.size() < event.len) return sink.on_malformed(record);
  sink.on_hello(event, payload.first(event.len));
}
void send(EventSink& sink, const pn_ev_bind& event, Record) { sink.on_bind(event); }
void send(EventSink& sink, const pn_ev_gate& event, Record) { sink.on_gate(event); }
void send(EventSink& sink, const pn_ev_withdraw& event, Record) { sink.on_withdraw(event); }
void send(EventSink& sink, const pn_ev_conn_close& event, Record) { sink.on_conn_close(event); }
void send(EventSink& sink, const pn_ev_fork& event, Record) { sink.on_fork(event); }
void send(EventSink& sink, const pn_ev_exec& event, Record) { sink.on_exec(event); }
void send(EventSink& sink, const pn_ev_exit& event, Record) { sink.on_exit(event); }
void send(EventSink& sink, const pn_ev_mmap& event, Record) { sink.on_mmap(event); }
void send(EventSink& sink, const pn_ev_wire_end& event, Record) { sink.on_wire_end(event); }
void send(EventSink& sink, const pn_ev_moved& event, Record) { sink.on_moved(event); }

void deliver(EventSink& sink, Record record) {
  const pn_ev_hdr* hdr = header_of(record);
  if (hdr == nullptr) return sink.on_malformed(record);
  switch (hdr->kind) {
#define PN_X(name, number, type)                                                 \
  case PN_EV_##name:                                                             \
    if (const auto* event = as<type>(record)) return send(sink, *event, record); \
    break;
    PN_EVENTS(PN_X)
#undef PN_X
    default:
      break;
  }
  sink.on_malformed(record);
}

}  // namespace

base::Result<> LiveRing::open(int events_fd, int verdicts_fd, pn_ctl_val* control) {
  PN_CHECK(events_.open(events_fd));
  PN_CHECK(verdicts_.open(verdicts_fd));
  control_ = control;
  epoll_ = base::Fd(epoll_create1(EPOLL_CLOEXEC));
  wakeup_ = base::Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_ || !wakeup_) return base::errno_error(errno, "epoll");
  for (int fd : {events_fd, verdicts_fd, wakeup_.get()}) {
    epoll_event interest{};
    interest.events = EPOLLIN | EPOLLET;  // edge: the rings are drained by looking at them, not by the event
    interest.data.fd = fd;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &interest) != 0) return base::errno_error(errno, "epoll_ctl");
  }
  return {};
}

void LiveRing::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] ssize_t n = ::write(wakeup_.get(), &one, sizeof one);
}

std::size_t LiveRing::drain(EventSink& sink, std::size_t budget) {
  std::size_t delivered = 0;
  std::span<const std::uint8_t> event, verdict;
  while (delivered < budget) {
    auto event_state = events_.peek(event);
    auto verdict_state = verdicts_.peek(verdict);
    // One head is there, the other is being written and may be older.
    for (int i = 0; i < kBusySpins && event_state != verdict_state &&
                    (event_state == Ring::State::kBusy || verdict_state == Ring::State::kBusy) &&
                    (event_state == Ring::State::kReady || verdict_state == Ring::State::kReady);
         ++i) {
      event_state = events_.peek(event);
      verdict_state = verdicts_.peek(verdict);
    }
    const bool have_event = event_state == Ring::State::kReady, have_verdict = verdict_state == Ring::State::kReady;
    if (!have_event && !have_verdict) break;
    bool take_verdict = have_verdict;
    if (have_event && have_verdict) {
      const pn_ev_hdr* e = header_of(event);
      const pn_ev_hdr* v = header_of(verdict);
      take_verdict = e != nullptr && (v == nullptr || v->boot_ns <= e->boot_ns);
    } else if (have_event && verdicts_.peek(verdict) == Ring::State::kReady) {
      continue;  // appeared after we looked: compare again
    }
    if (take_verdict) {
      const pn_ev_hdr* hdr = header_of(verdict);
      gate_follows_ = hdr != nullptr && hdr->kind == PN_EV_data;
      deliver(sink, verdict);
      verdicts_.consume();
    } else {
      deliver(sink, event);
      events_.consume();
    }
    ++delivered;
  }
  return delivered;
}

base::Result<> LiveRing::wait(std::uint64_t timeout_ns) {
  timespec timeout{static_cast<time_t>(timeout_ns / 1'000'000'000), static_cast<long>(timeout_ns % 1'000'000'000)};
  epoll_event ready[4];
  const long n = syscall(SYS_epoll_pwait2, epoll_.get(), ready, 4, &timeout, nullptr, 0);
  if (n < 0 && errno != EINTR) return base::errno_error(errno, "epoll_pwait2");
  for (long i = 0; i < n; ++i) {
    if (ready[i].data.fd != wakeup_.get()) continue;
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t r = ::read(wakeup_.get(), &count, sizeof count);
  }
  return {};
}

base::Result<std::size_t> LiveRing::poll(EventSink& sink, int timeout_ms, std::size_t budget) {
  const base::SystemClock clock;
  std::size_t n = drain(sink, budget);
  if (n > 0) last_event_boot_ns_ = clock.boot_ns();
  if (n > 0 || timeout_ms <= 0) return n;

  // Being put to sleep and woken takes longer than what is left of the program's send.
  for (int turn = 0; turn < kGateTurns && gate_follows_; ++turn) {
    sched_yield();  // it may be waiting for this very CPU
    if ((n = drain(sink, budget)) > 0) return n;
  }
  gate_follows_ = false;

  std::uint64_t timeout_ns = static_cast<std::uint64_t>(timeout_ms) * 1'000'000;
  const bool quiet = clock.boot_ns() - last_event_boot_ns_ > kQuietAfterNs;
  if (!quiet) timeout_ns = std::min(timeout_ns, kPollNs);
  __atomic_store_n(&control_->sleeping, quiet ? PN_ASLEEP : PN_DOZING, __ATOMIC_SEQ_CST);
  n = drain(sink, budget);  // what came before the kernel could know that we sleep
  // A record still being written was begun by someone who saw us awake: it will not wake us.
  if (events_.used_bytes() + verdicts_.used_bytes() > 0) timeout_ns = std::min(timeout_ns, kWritingNs);
  if (n == 0) PN_CHECK(wait(timeout_ns));
  __atomic_store_n(&control_->sleeping, PN_AWAKE, __ATOMIC_SEQ_CST);
  n += drain(sink, budget);
  if (n > 0) last_event_boot_ns_ = clock.boot_ns();
  return n;
}

}  // namespace penstock::capture
