// Where events come from: the live kernel rings, a capture file, or a test. The consumer cannot tell which.
// Everything here runs on the pipeline thread.
#pragma once

#include <cstdint>
#include <span>

#include "bpf/include/penstock/wire.h"
#include "userspace/base/result.h"

namespace penstock::capture {

// One method per event kind; structs and payload are valid during the call only.
// Order: events of one stream and direction arrive in order; a gate event follows the data it commits; whatever caused
// an event arrives before it.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void on_data(const pn_ev_data& event, std::span<const std::uint8_t> payload) = 0;
  virtual void on_bind(const pn_ev_bind& event) = 0;
  virtual void on_gate(const pn_ev_gate& event) = 0;
  virtual void on_withdraw(const pn_ev_withdraw& event) = 0;
  virtual void on_conn_close(const pn_ev_conn_close& event) = 0;
  virtual void on_fork(const pn_ev_fork& event) = 0;
  virtual void on_exec(const pn_ev_exec& event) = 0;
  virtual void on_exit(const pn_ev_exit& event) = 0;
  virtual void on_mmap(const pn_ev_mmap& event) = 0;
  virtual void on_hello(const pn_ev_hello& event, std::span<const std::uint8_t> payload) = 0;
  virtual void on_wire_end(const pn_ev_wire_end& event) = 0;
  virtual void on_moved(const pn_ev_moved& event) = 0;
  // A record that is malformed or of an unknown kind: counted, never fatal.
  virtual void on_malformed(std::span<const std::uint8_t> record) = 0;
};

class EventSource {
 public:
  virtual ~EventSource() = default;
  // Waits up to `timeout_ms` for events (0: does not wait) and delivers what is there, at most `budget` records.
  // Returns how many were delivered. Also returns early when wake() is called from another thread.
  virtual base::Result<std::size_t> poll(EventSink& sink, int timeout_ms, std::size_t budget) = 0;
  virtual void wake() = 0;  // thread-safe
};

}  // namespace penstock::capture
