// From events to connections: puts each stream's plaintext in order, tells the parser what is missing, and binds
// streams to sockets. Contents are passed on, never kept, except while a stream has no socket yet or a write has no
// commitment.
//
// Event x state of a stream
//   state      data                      data, provisional     gate             withdraw      bind        conn_close
//   (none)     cookie 0: unbound         as left               adopt, gate      -             bound       counted late
//              else: adopt -> bound
//   unbound    buffer (bounded)          keep aside (bounded)  adopt, gate      void from pos replay      end
//   bound      feed | gap | duplicate    keep aside (bounded)  tell handler,    void from pos rebind      end
//                                                              commit, feed
//   ended      counted late              counted late          counted late     -             -           -
//
// A gate event may name another stream that its plaintext was offered under (a record sealed before its socket was
// known): that part of it moves over first. Such streams never have a socket; they exist while something is offered.
//
// "Adopt" binds a stream whose bind event was lost or preceded this process: the socket's addresses come from the
// host's table; when the kernel programs ran before this process (Options::resumed), positions start at the first one
// seen.
//
// Ownership: the tracker owns streams and their handlers; handlers own their parsers. Eviction: unbound streams leave
// oldest first when a limit is reached (their bytes are counted as unattributed); bound connections leave least
// recently active first, unless their handler pins them (something of theirs is held in the kernel). Pipeline thread
// only.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "bpf/include/penstock/wire.h"
#include "parsers/core/connection_parser.h"
#include "userspace/gate/core/gate_control.h"

namespace penstock::tracker {

// What is known about the connection of a stream. Updated in place by the tracker; handlers may keep the reference.
struct ConnectionInfo {
  std::uint64_t stream = 0;
  std::uint64_t cgroup_id = 0;
  std::uint32_t scope = 0;
  std::uint8_t how = 0;    // enum pn_bind_how; 0: adopted
  bool joined = false;     // bytes before the first one seen are missing
  gate::SocketRef socket;  // tgid: the process that wrote last
  std::uint64_t last_boot_ns = 0;
  // By enum pn_direction: plaintext given to the parser and in how many pieces, and what was lost on the way to it.
  std::array<std::uint64_t, 2> delivered_bytes{}, pieces{}, lost_bytes{};
};

// One per connection, made by the Host.
class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;
  virtual parsers::ConnectionParser& parser() = 0;
  // The parser has been given what there is (bytes or a gap).
  virtual void on_fed(std::uint64_t when_boot_ns) = 0;
  // A gated write reached the socket; its plaintext is fed next (none for PN_GATE_OPAQUE), then on_fed() follows.
  // `unseen`: the plaintext with which this write begins was lost on the way, or read by a predecessor.
  virtual void on_gate(const pn_ev_gate& event, bool unseen) = 0;
  // The stream turned out to belong to another socket; info.socket is the new one.
  virtual void on_rebound(std::uint64_t old_cookie) = 0;
  // True while the kernel holds something of this connection: never evicted.
  virtual bool pinned() const = 0;
  // The parser has been closed; the handler is destroyed after this call.
  virtual void on_closed(std::uint64_t when_boot_ns) = 0;
};

class Host {
 public:
  virtual ~Host() = default;
  // Never null. `info` outlives the handler.
  virtual std::unique_ptr<ConnectionHandler> open(const ConnectionInfo& info) = 0;
  // The addresses of a socket whose bind event was not seen; nullopt: it is gone or unknown.
  virtual std::optional<gate::SocketRef> find_socket(std::uint64_t cookie) = 0;
};

struct Options {
  std::size_t max_connections = PN_MAX_CONNS;
  std::size_t max_unbound_streams = 8192;
  std::size_t unbound_stream_bytes = std::size_t{16} << 20;      // buffered per stream without a socket
  std::size_t provisional_stream_bytes = std::size_t{16} << 20;  // kept per stream until a write is committed
  std::size_t buffered_bytes = std::size_t{64} << 20;            // both kinds, all streams
  std::size_t remembered_ended = 8192;                           // ended streams told from new ones
  // The kernel programs ran before this process: an adopted stream's earlier bytes passed before observation began.
  // Otherwise they are a counted gap.
  bool resumed = false;
};

// Two sums hold at any time once everything has ended:
//   positions passed on bound streams = delivered + gap
//   bytes received = delivered + duplicate + withdrawn + overflow + late + unattributed
struct Counters {
  std::array<std::uint64_t, 2> delivered_bytes{};  // by enum pn_direction, as are the next two
  std::array<std::uint64_t, 2> gap_bytes{};
  std::array<std::uint64_t, 2> gaps{};
  std::uint64_t duplicate_bytes = 0;     // re-offered positions: already delivered
  std::uint64_t withdrawn_bytes = 0;     // provisional data that never reached a socket
  std::uint64_t overflow_bytes = 0;      // not buffered because a limit was reached: a gap once the stream is bound
  std::uint64_t unattributed_bytes = 0;  // of streams that never got a socket
  std::uint64_t late_events = 0;         // for streams that had ended
  std::uint64_t late_bytes = 0;
  std::uint64_t opened = 0;
  std::uint64_t closed = 0;
  std::uint64_t adopted = 0;
  std::uint64_t rebound = 0;
  std::uint64_t evicted_unbound = 0;
  std::uint64_t evicted_connections = 0;
  std::uint64_t reconciled = 0;  // connections whose end was not reported
};

class Tracker {
 public:
  Tracker(Host& host, const Options& options);
  ~Tracker();
  Tracker(const Tracker&) = delete;
  Tracker& operator=(const Tracker&) = delete;

  void on_data(const pn_ev_data& event, std::span<const std::uint8_t> payload);
  void on_bind(const pn_ev_bind& event);
  void on_gate(const pn_ev_gate& event);
  void on_withdraw(const pn_ev_withdraw& event);
  void on_conn_close(const pn_ev_conn_close& event);

  // Ends every bound connection whose socket is not in `live` and that has been silent since `before_boot_ns`: after
  // conn_close events may have been lost.
  void reconcile(const std::unordered_set<std::uint64_t>& live, std::uint64_t before_boot_ns,
                 std::uint64_t now_boot_ns);
  // Ends everything (shutdown): open exchanges are completed.
  void close_all(std::uint64_t now_boot_ns);

  ConnectionHandler* find_cookie(std::uint64_t cookie);
  const Counters& counters() const { return counters_; }
  std::size_t connections() const { return bound_; }
  std::size_t unbound() const { return unbound_order_.size(); }
  std::size_t buffered_bytes() const { return buffered_; }

 private:
  struct Chunk {
    std::uint64_t pos = 0;
    std::uint64_t when = 0;
    std::uint8_t direction = 0;
    std::vector<std::uint8_t> bytes;
  };
  struct Stream {
    ConnectionInfo info;
    std::unique_ptr<ConnectionHandler> handler;  // null: unbound
    std::array<std::uint64_t, 2> next{};         // position the parser expects
    std::array<std::uint64_t, 2> seen{};         // one past the last position known to have passed
    std::array<bool, 2> floating{};              // adopted: the first position seen sets `next`
    std::deque<Chunk> pending;                   // unbound only, arrival order
    std::deque<Chunk> provisional;               // to-server, ascending
    std::size_t pending_bytes = 0;
    std::size_t provisional_bytes = 0;
    std::list<std::uint64_t>::iterator order;  // in unbound_order_ or bound_order_
  };

  Stream* find(std::uint64_t stream);
  Stream& create_unbound(std::uint64_t stream, const pn_ev_hdr& hdr);
  // The stream an event is about, made if it is new; null (counted) when it has ended already.
  Stream* find_or_create(std::uint64_t stream, const pn_ev_hdr& hdr);
  void bind(Stream& stream);
  void adopt(Stream& stream, std::uint64_t cookie);
  void deliver(Stream& stream, std::uint8_t direction, std::uint64_t pos, std::span<const std::uint8_t> bytes,
               std::uint64_t when);
  void advance_to(Stream& stream, std::uint8_t direction, std::uint64_t pos);
  void keep_provisional(Stream& stream, const pn_ev_data& event, std::span<const std::uint8_t> payload);
  void commit(Stream& stream, std::uint64_t end);
  // Plaintext that was offered under another stream, before its connection was known, becomes this one's.
  void take_offered(Stream& stream, const pn_ev_gate& event);
  void drop_provisional_from(Stream& stream, std::uint64_t pos);
  void touch(Stream& stream, const pn_ev_hdr& hdr);
  void note_writer(Stream& stream, const pn_ev_hdr& hdr, std::uint32_t scope);
  void end(std::uint64_t id, std::uint64_t when);
  void remember_ended(std::uint64_t id);
  void make_room_unbound();
  void make_room_bound();

  Host& host_;
  const Options options_;
  Counters counters_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Stream>> streams_;
  std::unordered_map<std::uint64_t, std::uint64_t> by_cookie_;  // socket cookie -> stream bound last
  std::list<std::uint64_t> unbound_order_;                      // oldest first
  std::list<std::uint64_t> bound_order_;                        // least recently active first
  std::unordered_set<std::uint64_t> ended_;
  std::deque<std::uint64_t> ended_order_;
  std::size_t bound_ = 0;
  std::size_t buffered_ = 0;
};

}  // namespace penstock::tracker
