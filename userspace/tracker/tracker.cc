#include "userspace/tracker/tracker.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace penstock::tracker {
namespace {

parsers::Direction parser_direction(std::uint8_t direction) {
  return direction == PN_TO_CLIENT ? parsers::Direction::kToClient : parsers::Direction::kToServer;
}

// Offered plaintext that lies so far behind what its thread sends now was never sent.
constexpr std::uint64_t kStaleOffer = std::uint64_t{4} << 20;

}  // namespace

Tracker::Tracker(Host& host, const Options& options) : host_(host), options_(options) {}

Tracker::~Tracker() { close_all(0); }

Tracker::Stream* Tracker::find(std::uint64_t stream) {
  const auto it = streams_.find(stream);
  return it == streams_.end() ? nullptr : it->second.get();
}

Tracker::Stream& Tracker::create_unbound(std::uint64_t stream, const pn_ev_hdr& hdr) {
  make_room_unbound();
  auto made = std::make_unique<Stream>();
  made->info.stream = stream;
  made->info.cgroup_id = hdr.cgroup_id;
  made->info.last_boot_ns = hdr.boot_ns;
  made->info.socket.tgid = hdr.tgid;
  made->order = unbound_order_.insert(unbound_order_.end(), stream);
  return *(streams_[stream] = std::move(made));
}

Tracker::Stream* Tracker::find_or_create(std::uint64_t stream, const pn_ev_hdr& hdr) {
  if (Stream* known = find(stream)) return known;
  if (!ended_.contains(stream)) return &create_unbound(stream, hdr);
  ++counters_.late_events;
  return nullptr;
}

void Tracker::make_room_unbound() {
  while (!unbound_order_.empty() && unbound_order_.size() >= options_.max_unbound_streams) {
    ++counters_.evicted_unbound;
    end(unbound_order_.front(), 0);
  }
}

void Tracker::make_room_bound() {
  if (bound_ < options_.max_connections) return;
  for (auto it = bound_order_.begin(); it != bound_order_.end(); ++it) {
    const Stream* candidate = find(*it);
    if (candidate == nullptr || candidate->handler->pinned()) continue;
    ++counters_.evicted_connections;
    end(*it, candidate->info.last_boot_ns);
    return;
  }
  // Everything is held by the kernel: its own tables bound how far this can exceed the limit.
}

void Tracker::touch(Stream& stream, const pn_ev_hdr& hdr) {
  stream.info.last_boot_ns = hdr.boot_ns;
  if (stream.handler) bound_order_.splice(bound_order_.end(), bound_order_, stream.order);
}

void Tracker::note_writer(Stream& stream, const pn_ev_hdr& hdr, std::uint32_t scope) {
  stream.info.scope = scope;
  if (stream.info.socket.stdio_server != 0) return;  // seen in the server, written by its client
  stream.info.socket.tgid = hdr.tgid;
  stream.info.cgroup_id = hdr.cgroup_id;
}

void Tracker::on_data(const pn_ev_data& event, std::span<const std::uint8_t> payload) {
  const auto direction = static_cast<std::uint8_t>(event.direction == PN_TO_CLIENT ? PN_TO_CLIENT : PN_TO_SERVER);
  Stream* stream = find_or_create(event.stream, event.hdr);
  if (stream == nullptr) {
    counters_.late_bytes += payload.size();
    return;
  }
  touch(*stream, event.hdr);
  if (direction == PN_TO_SERVER) note_writer(*stream, event.hdr, event.scope);
  if (!stream->handler && event.cookie != 0) adopt(*stream, event.cookie);

  if (direction == PN_TO_SERVER && (event.flags & PN_DATA_PROVISIONAL) != 0) {
    keep_provisional(*stream, event, payload);
    return;
  }
  stream->seen[direction] = std::max<std::uint64_t>(stream->seen[direction], event.pos + payload.size());
  if (stream->handler) {
    // A plain write after provisional ones: those below it went out, although nobody said so.
    if (direction == PN_TO_SERVER && !stream->provisional.empty()) {
      commit(*stream, event.pos);
      drop_provisional_from(*stream, event.pos);
    }
    deliver(*stream, direction, event.pos, payload, event.hdr.boot_ns);
    stream->handler->on_fed(event.hdr.boot_ns);
    return;
  }
  if (stream->pending_bytes + payload.size() > options_.unbound_stream_bytes) {
    counters_.overflow_bytes += payload.size();
    return;
  }
  while (buffered_ + payload.size() > options_.buffered_bytes && unbound_order_.front() != event.stream) {
    ++counters_.evicted_unbound;
    end(unbound_order_.front(), 0);
  }
  if (buffered_ + payload.size() > options_.buffered_bytes) {
    counters_.overflow_bytes += payload.size();
    return;
  }
  stream->pending.push_back(
      Chunk{event.pos, event.hdr.boot_ns, direction, std::vector<std::uint8_t>(payload.begin(), payload.end())});
  stream->pending_bytes += payload.size();
  buffered_ += payload.size();
}

void Tracker::keep_provisional(Stream& stream, const pn_ev_data& event, std::span<const std::uint8_t> payload) {
  std::uint64_t pos = event.pos;
  // Offered again although it is known to have been sent: the part already delivered is not a request of its own.
  if (!stream.floating[PN_TO_SERVER] && pos < stream.next[PN_TO_SERVER]) {
    const std::size_t known =
        static_cast<std::size_t>(std::min<std::uint64_t>(payload.size(), stream.next[PN_TO_SERVER] - pos));
    counters_.duplicate_bytes += known;
    payload = payload.subspan(known);
    pos += known;
    if (payload.empty()) return;
  }
  // Offered again before it was sent: what counts is what will be sent, so the newest bytes replace older ones.
  while (!stream.provisional.empty() && stream.provisional.back().pos + stream.provisional.back().bytes.size() > pos) {
    Chunk& last = stream.provisional.back();
    const std::size_t keep = last.pos < pos ? static_cast<std::size_t>(pos - last.pos) : 0;
    const std::size_t dropped = last.bytes.size() - keep;
    counters_.duplicate_bytes += dropped;
    stream.provisional_bytes -= dropped;
    buffered_ -= dropped;
    if (keep > 0) {
      last.bytes.resize(keep);
      break;
    }
    stream.provisional.pop_back();
  }
  if (stream.provisional_bytes + payload.size() > options_.provisional_stream_bytes ||
      buffered_ + payload.size() > options_.buffered_bytes) {
    counters_.overflow_bytes += payload.size();
    return;
  }
  stream.provisional.push_back(
      Chunk{pos, event.hdr.boot_ns, PN_TO_SERVER, std::vector<std::uint8_t>(payload.begin(), payload.end())});
  stream.provisional_bytes += payload.size();
  buffered_ += payload.size();
}

void Tracker::commit(Stream& stream, std::uint64_t end) {
  while (!stream.provisional.empty() && stream.provisional.front().pos < end) {
    Chunk chunk = std::move(stream.provisional.front());
    stream.provisional.pop_front();
    const std::size_t used = static_cast<std::size_t>(std::min<std::uint64_t>(chunk.bytes.size(), end - chunk.pos));
    stream.provisional_bytes -= used;
    buffered_ -= used;
    // When the program wrote it, not when it was committed: timings start at the write.
    deliver(stream, PN_TO_SERVER, chunk.pos, std::span(chunk.bytes).first(used), chunk.when);
    if (used < chunk.bytes.size()) {
      chunk.bytes.erase(chunk.bytes.begin(), chunk.bytes.begin() + static_cast<std::ptrdiff_t>(used));
      chunk.pos += used;
      stream.provisional.push_front(std::move(chunk));
    }
  }
  stream.seen[PN_TO_SERVER] = std::max(stream.seen[PN_TO_SERVER], end);
  advance_to(stream, PN_TO_SERVER, end);
}

void Tracker::drop_provisional_from(Stream& stream, std::uint64_t pos) {
  while (!stream.provisional.empty() && stream.provisional.back().pos >= pos) {
    const std::size_t size = stream.provisional.back().bytes.size();
    counters_.withdrawn_bytes += size;
    stream.provisional_bytes -= size;
    buffered_ -= size;
    stream.provisional.pop_back();
  }
}

void Tracker::deliver(Stream& stream, std::uint8_t direction, std::uint64_t pos, std::span<const std::uint8_t> bytes,
                      std::uint64_t when) {
  std::uint64_t& next = stream.next[direction];
  if (stream.floating[direction]) {
    next = pos;
    stream.floating[direction] = false;
  }
  advance_to(stream, direction, pos);
  if (pos < next) {
    const std::size_t known = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), next - pos));
    counters_.duplicate_bytes += known;
    bytes = bytes.subspan(known);
  }
  if (bytes.empty()) return;
  counters_.delivered_bytes[direction] += bytes.size();
  stream.info.delivered_bytes[direction] += bytes.size();
  ++stream.info.pieces[direction];
  const std::uint64_t at = next;
  next += bytes.size();
  stream.handler->parser().feed(parser_direction(direction), at, bytes, when);
}

void Tracker::advance_to(Stream& stream, std::uint8_t direction, std::uint64_t pos) {
  std::uint64_t& next = stream.next[direction];
  if (stream.floating[direction] || pos <= next) return;
  const std::uint64_t missing = pos - next;
  ++counters_.gaps[direction];
  counters_.gap_bytes[direction] += missing;
  stream.info.lost_bytes[direction] += missing;
  next = pos;
  stream.handler->parser().gap(parser_direction(direction), missing);
}

void Tracker::on_bind(const pn_ev_bind& event) {
  Stream* stream = find_or_create(event.stream, event.hdr);
  if (stream == nullptr) return;
  ConnectionInfo& info = stream->info;
  const std::uint64_t old_cookie = info.socket.cookie;
  touch(*stream, event.hdr);
  info.cgroup_id = event.hdr.cgroup_id;
  info.scope = event.scope;
  info.how = event.how;
  info.socket.cookie = event.cookie;
  const bool stdio = event.how == PN_BIND_STDIO;
  info.socket.tgid = stdio ? event.client_tgid : event.hdr.tgid;
  info.socket.stdio_server = stdio ? event.hdr.tgid : 0;
  info.socket.family = event.family;
  info.socket.local_port = event.local_port;
  info.socket.remote_port = event.remote_port;
  std::memcpy(info.socket.local_addr.data(), event.local_addr, sizeof event.local_addr);
  std::memcpy(info.socket.remote_addr.data(), event.remote_addr, sizeof event.remote_addr);
  if (!stream->handler) {
    info.joined = event.joined != 0;
    bind(*stream);
    return;
  }
  if (old_cookie == event.cookie) return;  // an adopted stream's bind came after all: the addresses are news, no more
  ++counters_.rebound;
  const auto [first, last] = by_cookie_.equal_range(old_cookie);
  const auto it = std::find_if(first, last, [&](const auto& entry) { return entry.second == event.stream; });
  if (it != last) by_cookie_.erase(it);
  by_cookie_.emplace(event.cookie, event.stream);
  info.socket.fd_hint = -1;
  stream->handler->on_rebound(old_cookie);
  info.delivered_bytes = info.lost_bytes = info.pieces = {};
}

void Tracker::adopt(Stream& stream, std::uint64_t cookie) {
  ++counters_.adopted;
  const std::uint32_t tgid = stream.info.socket.tgid;
  const bool stdio = (cookie & PN_STDIO_COOKIE) != 0;  // then its client is not known: the server stands for it
  stream.info.socket = host_.find_socket(cookie).value_or(gate::SocketRef{});
  stream.info.socket.cookie = cookie;
  if (tgid != 0) stream.info.socket.tgid = tgid;
  if (stdio) stream.info.socket.stdio_server = tgid;
  stream.info.joined = options_.resumed;
  stream.floating = {options_.resumed, options_.resumed};
  bind(stream);
}

void Tracker::bind(Stream& stream) {
  const std::uint64_t id = stream.info.stream;
  unbound_order_.erase(stream.order);
  // The stream is in neither list while room is made, so it cannot evict itself.
  make_room_bound();
  stream.order = bound_order_.insert(bound_order_.end(), id);
  ++bound_;
  ++counters_.opened;
  by_cookie_.emplace(stream.info.socket.cookie, id);
  stream.handler = host_.open(stream.info);
  if (!stream.handler) PN_BUG("tracker: the host opened no handler");
  bool fed = false;
  while (!stream.pending.empty()) {
    const Chunk chunk = std::move(stream.pending.front());
    stream.pending.pop_front();
    stream.pending_bytes -= chunk.bytes.size();
    buffered_ -= chunk.bytes.size();
    deliver(stream, chunk.direction, chunk.pos, chunk.bytes, chunk.when);
    fed = true;
  }
  // What was not buffered passed all the same.
  for (std::uint8_t direction : {PN_TO_SERVER, PN_TO_CLIENT}) advance_to(stream, direction, stream.seen[direction]);
  if (fed) stream.handler->on_fed(stream.info.last_boot_ns);
}

void Tracker::on_gate(const pn_ev_gate& event) {
  Stream* stream = find_or_create(event.stream, event.hdr);
  if (stream == nullptr) return;
  touch(*stream, event.hdr);
  note_writer(*stream, event.hdr, event.scope);
  if (!stream->handler) adopt(*stream, event.cookie);
  stream->info.socket.fd_hint = event.fd;
  if (event.data_stream != 0) take_offered(*stream, event);
  const bool delivered = !stream->floating[PN_TO_SERVER] && stream->next[PN_TO_SERVER] > event.pos;
  const bool offered = !stream->provisional.empty() && stream->provisional.front().pos <= event.pos;
  stream->handler->on_gate(event, event.what != PN_GATE_OPAQUE && event.len > 0 && !delivered && !offered);
  if (event.what != PN_GATE_OPAQUE) {
    if (stream->floating[PN_TO_SERVER]) {
      stream->next[PN_TO_SERVER] = event.pos;
      stream->floating[PN_TO_SERVER] = false;
    }
    commit(*stream, event.pos + event.len);
  }
  stream->handler->on_fed(event.hdr.boot_ns);
}

void Tracker::take_offered(Stream& stream, const pn_ev_gate& event) {
  Stream* from = find(event.data_stream);
  if (from == nullptr || from == &stream) return;  // lost: the commit will find a gap
  const std::uint64_t begin = event.data_pos, end = event.data_pos + event.len;
  std::deque<Chunk> left;
  const auto keep = [&](const Chunk& chunk, std::size_t first, std::size_t count) {
    if (count > 0)
      left.push_back(Chunk{chunk.pos + first,
                           chunk.when,
                           chunk.direction,
                           {chunk.bytes.begin() + static_cast<std::ptrdiff_t>(first),
                            chunk.bytes.begin() + static_cast<std::ptrdiff_t>(first + count)}});
  };
  for (Chunk& chunk : from->provisional) {
    const std::size_t size = chunk.bytes.size();
    const auto inside = [&](std::uint64_t pos) {
      return static_cast<std::size_t>(std::clamp<std::uint64_t>(pos, chunk.pos, chunk.pos + size) - chunk.pos);
    };
    const std::size_t first = inside(begin), last = inside(end);
    if (chunk.pos + size + kStaleOffer <= begin) {
      // Sealed long ago and never sent: its connection is gone.
      counters_.withdrawn_bytes += size;
      from->provisional_bytes -= size;
      buffered_ -= size;
      continue;
    }
    if (first == last) {
      left.push_back(std::move(chunk));
      continue;
    }
    keep(chunk, 0, first);
    keep(chunk, last, size - last);
    from->provisional_bytes -= last - first;
    stream.provisional_bytes += last - first;
    stream.provisional.push_back(Chunk{event.pos + (chunk.pos + first - begin),
                                       chunk.when,
                                       chunk.direction,
                                       {chunk.bytes.begin() + static_cast<std::ptrdiff_t>(first),
                                        chunk.bytes.begin() + static_cast<std::ptrdiff_t>(last)}});
  }
  from->provisional = std::move(left);
  if (from->provisional.empty() && !from->handler && from->pending.empty()) {
    // Its thread goes on offering under this name: it has not ended.
    unbound_order_.erase(from->order);
    streams_.erase(event.data_stream);
  }
}

void Tracker::on_withdraw(const pn_ev_withdraw& event) {
  Stream* stream = find(event.stream);
  if (stream == nullptr) {
    if (ended_.contains(event.stream)) ++counters_.late_events;
    return;
  }
  touch(*stream, event.hdr);
  drop_provisional_from(*stream, event.pos);
}

void Tracker::on_conn_close(const pn_ev_conn_close& event) {
  std::vector<std::uint64_t> ending;
  const auto [first, last] = by_cookie_.equal_range(event.cookie);
  if (event.cookie != 0) {
    for (auto it = first; it != last; ++it) ending.push_back(it->second);
  }
  if (Stream* stream = find(event.stream)) {
    touch(*stream, event.hdr);
    if (!stream->handler && event.cookie != 0) adopt(*stream, event.cookie);
    if (stream->handler) {
      commit(*stream, event.to_server_bytes);
      advance_to(*stream, PN_TO_CLIENT, event.to_client_bytes);
    }
    if (std::find(ending.begin(), ending.end(), event.stream) == ending.end()) ending.push_back(event.stream);
  }
  if (ending.empty()) ++counters_.late_events;
  for (const std::uint64_t id : ending) end(id, event.hdr.boot_ns);
}

void Tracker::end(std::uint64_t id, std::uint64_t when) {
  const auto it = streams_.find(id);
  if (it == streams_.end()) return;
  const std::unique_ptr<Stream> stream = std::move(it->second);
  streams_.erase(it);
  buffered_ -= stream->pending_bytes + stream->provisional_bytes;
  counters_.unattributed_bytes += stream->pending_bytes;
  counters_.withdrawn_bytes += stream->provisional_bytes;
  remember_ended(id);
  if (!stream->handler) {
    unbound_order_.erase(stream->order);
    return;
  }
  bound_order_.erase(stream->order);
  --bound_;
  ++counters_.closed;
  const auto [first, last] = by_cookie_.equal_range(stream->info.socket.cookie);
  const auto entry = std::find_if(first, last, [&](const auto& e) { return e.second == id; });
  if (entry != last) by_cookie_.erase(entry);
  stream->handler->parser().close(when);
  stream->handler->on_closed(when);
}

void Tracker::remember_ended(std::uint64_t id) {
  if (options_.remembered_ended == 0 || !ended_.insert(id).second) return;
  ended_order_.push_back(id);
  if (ended_order_.size() > options_.remembered_ended) {
    ended_.erase(ended_order_.front());
    ended_order_.pop_front();
  }
}

void Tracker::reconcile(const std::unordered_set<std::uint64_t>& live, std::uint64_t before_boot_ns,
                        std::uint64_t now_boot_ns) {
  std::vector<std::uint64_t> gone;
  for (const std::uint64_t id : bound_order_) {
    const Stream* stream = find(id);
    if (stream == nullptr) PN_BUG("tracker: order lists an unknown stream");
    if (stream->info.last_boot_ns >= before_boot_ns) break;
    if (stream->info.socket.stdio_server != 0) continue;  // has no socket
    if (!live.contains(stream->info.socket.cookie)) gone.push_back(id);
  }
  counters_.reconciled += gone.size();
  for (const std::uint64_t id : gone) end(id, now_boot_ns);
}

void Tracker::close_all(std::uint64_t now_boot_ns) {
  while (!streams_.empty()) end(streams_.begin()->first, now_boot_ns);
}

ConnectionHandler* Tracker::find_cookie(std::uint64_t cookie) {
  const auto [first, last] = by_cookie_.equal_range(cookie);
  for (auto it = first; it != last; ++it) {
    if (Stream* stream = find(it->second)) return stream->handler.get();
  }
  return nullptr;
}

}  // namespace penstock::tracker
