#include "userspace/pipeline/coverage.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>
#include <utility>

namespace penstock::pipeline {
namespace {

constexpr std::uint64_t kRecordOverhead = 40;  // most that TLS adds to a record, as bpf/lib/gate_close.h has it
constexpr std::uint64_t kRecordBytes = 16384;  // most plaintext of one
constexpr std::uint64_t kFinishedBytes = 128;  // application records before the first request: the end of a handshake
constexpr std::uint64_t kUnknownHandshake = 1024;  // sent by a client whose beginning was not seen whole
constexpr std::uint64_t kSlack = 1024;             // between two looks at counters that grow: not called a difference
constexpr std::uint32_t kGivenUp = 3;              // looks at a socket that is not there any more
constexpr std::uint16_t kHttpsPort = 443;

std::string address_of(const pn_endpoint_key& at) {
  char text[INET6_ADDRSTRLEN] = {};
  if (at.family != AF_INET && at.family != AF_INET6) return {};
  if (::inet_ntop(at.family, at.addr, text, sizeof text) == nullptr) return {};
  return at.family == AF_INET6 ? fmt::format("[{}]:{}", text, at.port) : fmt::format("{}:{}", text, at.port);
}

std::string with_port(const std::string& name, std::uint16_t port) {
  return port == kHttpsPort ? name : fmt::format("{}:{}", name, port);
}

// What plaintext can have made of itself at most.
std::uint64_t explained(std::uint64_t plaintext, std::uint64_t pieces) {
  return plaintext + kRecordOverhead * (pieces + plaintext / kRecordBytes);
}

// What was lost on the way to us was no secret.
std::uint64_t passed(const tracker::ConnectionInfo& info, std::size_t direction) {
  return info.delivered_bytes[direction] + info.lost_bytes[direction];
}

}  // namespace

std::string_view name(Talk::State state) {
  switch (state) {
    case Talk::State::kPending:
      return "pending";
    case Talk::State::kCovered:
      return "covered";
    case Talk::State::kPartial:
      return "partial";
    case Talk::State::kOpaque:
      return "opaque";
    case Talk::State::kRefused:
      return "refused";
  }
  return "pending";
}

Talk::State Talk::state() const {
  if (opaque_bytes > 0) return plaintext_bytes > 0 ? State::kPartial : State::kOpaque;
  if (refused > 0 && plaintext_bytes == 0) return State::kRefused;
  return plaintext_bytes > 0 ? State::kCovered : State::kPending;
}

Coverage::Coverage(const base::Clock& clock, gate::GateControl& gate, SubjectSource& subjects, CoverageHost& host,
                   TlsKnowledge* tls, const Limits& limits)
    : clock_(clock), gate_(gate), subjects_(subjects), host_(host), tls_(tls), limits_(limits) {}

// ---- connections ---------------------------------------------------------------------------------------------------

Coverage::Live* Coverage::find(std::uint64_t cookie) {
  const auto it = live_.find(cookie);
  return it == live_.end() ? nullptr : &it->second;
}

Coverage::Live& Coverage::open(const gate::SocketRef& socket) {
  if (Live* known = find(socket.cookie)) return *known;
  if (live_.size() >= limits_.connections) {
    const auto useless = std::find_if(order_.begin(), order_.end(),
                                      [this](std::uint64_t c) { return live_.at(c).interest < Interest::kHidden; });
    finish(useless != order_.end() ? *useless : order_.front());
  }
  Live& live = live_[socket.cookie];
  live.socket = socket;
  live.order = order_.insert(order_.end(), socket.cookie);
  return live;
}

std::optional<Coverage::Asked> Coverage::on_hello(const pn_ev_hello& event, std::span<const std::uint8_t> payload) {
  Live* known = find(event.cookie);
  if (known == nullptr) {
    gate::SocketRef socket;
    socket.cookie = event.cookie;
    socket.tgid = event.hdr.tgid;
    socket.family = event.family;
    socket.local_port = event.local_port;
    socket.remote_port = event.remote_port;
    std::memcpy(socket.local_addr.data(), event.local_addr, sizeof event.local_addr);
    std::memcpy(socket.remote_addr.data(), event.remote_addr, sizeof event.remote_addr);
    known = &open(socket);
  }
  Live& live = *known;
  live.socket.tgid = event.hdr.tgid;  // whoever writes
  live.spliced = live.spliced || (event.flags & PN_HELLO_SPLICED) != 0;
  live.ring = live.ring || (event.flags & PN_HELLO_RING) != 0;
  live.first.feed(event.pos, payload);
  if (live.spliced || event.pos + event.len >= PN_HELLO_BYTES) live.first.finish();
  if (live.interest != Interest::kUndecided || (!live.first.hello() && !live.first.broken() && !live.spliced))
    return {};
  if (live.first.hello()) live.hello = *live.first.hello();
  live.hello_read = live.first.hello().has_value();
  decide(live);
  if (live.interest != Interest::kAi) return {};
  if (tls_ != nullptr) tls_->look(live.socket.tgid);
  return Asked{live.socket, live.provider};
}

void Coverage::decide(Live& live) {
  if (const auto provider = host_.ai_provider(live.socket, live.hello.server_name)) {
    live.interest = Interest::kAi;
    live.provider = *provider;
    return;
  }
  const bool hidden = live.hello.ech || live.hello.server_name.empty();
  live.interest = hidden && of_interest(subjects_.subject(live.socket.tgid)) ? Interest::kHidden : Interest::kNone;
}

// Where it goes without a name: a policy speaks of it, or it talks to AI endpoints.
bool Coverage::of_interest(const model::Subject& subject) {
  const auto first = talks_.lower_bound({subject.process, std::string(), false});
  return (first != talks_.end() && std::get<0>(first->first) == subject.process) || host_.governed(subject);
}

void Coverage::on_wire_end(const pn_ev_wire_end& event) {
  Live* live = find(event.cookie);
  if (live == nullptr) return;
  live->wire.sent = std::max<std::uint64_t>(live->wire.sent, event.sent_bytes);
  live->wire.received = std::max<std::uint64_t>(live->wire.received, event.received_bytes);
  finish(event.cookie);
}

void Coverage::on_ai(const tracker::ConnectionInfo& info, std::string_view provider, std::string_view host) {
  Live* live = find(info.socket.cookie);
  if (live == nullptr) {
    live = &open(info.socket);
    // Its beginning was not seen: what passed before now is nobody's.
    live->joined = true;
    if (const auto wire = gate_.wire_bytes(info.socket)) {
      const std::uint64_t sent = explained(passed(info, PN_TO_SERVER), info.pieces[PN_TO_SERVER]);
      const std::uint64_t received = explained(passed(info, PN_TO_CLIENT), info.pieces[PN_TO_CLIENT]);
      live->base = {wire->sent - std::min(wire->sent, sent), wire->received - std::min(wire->received, received),
                    false};
      live->wire = *wire;
    }
  }
  live->interest = Interest::kAi;
  live->socket.tgid = info.socket.tgid;
  if (live->provider.empty()) live->provider = provider;
  if (live->host.empty()) live->host = host;
}

void Coverage::on_older(const gate::SocketRef& socket, std::string_view provider) {
  if (find(socket.cookie) != nullptr) return;
  Live& live = open(socket);
  live.joined = true;
  live.interest = Interest::kAi;
  live.provider = provider;
  if (const auto wire = gate_.wire_bytes(socket)) {
    live.base = {wire->sent, wire->received, false};
    live.wire = *wire;
  }
  Talk& talk = talk_of(live);
  if (!talk.reason) talk.reason = Unseen::kJoinedLate;
}

void Coverage::on_refused(const tracker::ConnectionInfo& info) {
  Live& live = open(info.socket);
  if (live.interest != Interest::kAi) {
    live.interest = Interest::kHidden;
    if (const auto provider = host_.ai_provider(live.socket, live.hello.server_name)) {
      live.interest = Interest::kAi;
      live.provider = *provider;
    }
  }
  live.refused = true;
  update(live);
}

void Coverage::on_stream_end(std::uint64_t cookie, const tracker::ConnectionInfo& info) {
  Live* live = find(cookie);
  if (live == nullptr) return;
  for (const std::size_t direction : {0, 1}) {
    live->ended_bytes[direction] += passed(info, direction);
    live->ended_pieces[direction] += info.pieces[direction];
  }
}

void Coverage::finish(std::uint64_t cookie) {
  const auto it = live_.find(cookie);
  if (it == live_.end()) return;
  update(it->second);
  order_.erase(it->second.order);
  live_.erase(it);
}

bool Coverage::is_ai(std::uint64_t cookie) const {
  const auto it = live_.find(cookie);
  return it != live_.end() && it->second.interest == Interest::kAi;
}

std::string_view Coverage::server_name(std::uint64_t cookie) const {
  const auto it = live_.find(cookie);
  return it == live_.end() || it->second.hello.ech ? std::string_view() : it->second.hello.server_name;
}

// ---- figures -------------------------------------------------------------------------------------------------------

Coverage::Figures Coverage::figures(const Live& live) const {
  std::array<std::uint64_t, 2> plain = live.ended_bytes, pieces = live.ended_pieces;
  if (const tracker::ConnectionInfo* info = host_.followed(live.socket.cookie)) {
    for (const std::size_t direction : {0, 1}) {
      plain[direction] += passed(*info, direction);
      pieces[direction] += info->pieces[direction];
    }
  }
  Figures out;
  out.plaintext = plain[PN_TO_SERVER] + plain[PN_TO_CLIENT];
  const std::uint64_t sent = live.wire.sent;  // what is held in the socket has not left
  const std::uint64_t whole_handshake = live.joined ? 0 : live.first.broken() ? kUnknownHandshake : 0;
  const std::uint64_t accounted = live.base.sent + live.first.handshake_bytes() + whole_handshake + kFinishedBytes +
                                  explained(plain[PN_TO_SERVER], pieces[PN_TO_SERVER]);
  const std::uint64_t unseen = sent > accounted ? sent - accounted : 0;
  if (out.plaintext == 0) {
    // Something was said, and nothing of it was seen: neither was the answer.
    if (unseen > 0) out.opaque = unseen + (live.wire.received - std::min(live.wire.received, live.base.received));
  } else if (unseen > kSlack + sent / 64) {
    out.opaque = unseen;
  }
  return out;
}

Talk& Coverage::talk_at(const TalkKey& key, const model::Subject& subject) {
  if (const auto it = talks_.find(key); it != talks_.end()) return it->second;
  if (talks_.size() >= limits_.talks) {
    talks_.erase(std::min_element(talks_.begin(), talks_.end(), [](const auto& a, const auto& b) {
      return a.second.last_boot_ns < b.second.last_boot_ns;
    }));
  }
  Talk& made = talks_[key];
  made.subject = subject;
  made.since_real_ns = clock_.real_ns();
  return made;
}

Talk& Coverage::talk_of(Live& live) {
  const model::Subject& subject = subjects_.subject(live.socket.tgid);
  const std::string address = address_of(gate::remote_of(live.socket));
  const std::string& known_as = live.hello.server_name.empty() ? live.host : live.hello.server_name;
  const std::string target = known_as.empty() ? address : with_port(known_as, live.socket.remote_port);
  TalkKey key{subject.process, target, false};
  const bool fresh = !live.talk;
  if (fresh) live.talk = key;
  Talk& talk = talk_at(*live.talk, subject);
  if (talk.target.empty()) talk.target = target;
  if (fresh) {
    ++talk.connections;
    talk.address = address;
    talk.sni = live.hello.server_name;
    talk.alpn = live.hello.alpn;
    talk.ech = live.hello.ech;
  }
  if (talk.runtime.empty() && tls_ != nullptr) talk.runtime = tls_->runtime_of(live.socket.tgid);
  if (talk.provider.empty()) talk.provider = live.provider;
  talk.last_boot_ns = clock_.boot_ns();
  return talk;
}

void Coverage::update(Live& live) {
  if (live.interest < Interest::kHidden) return;
  const Figures now = figures(live);
  // Hidden names are of interest as long as nobody can read what is behind them.
  if (live.interest == Interest::kHidden && (now.plaintext > 0 || (now.opaque == 0 && !live.refused)) && !live.talk)
    return;
  Talk& talk = talk_of(live);
  talk.plaintext_bytes += now.plaintext - std::min(now.plaintext, live.told_plaintext);
  // What looked unseen may turn out to be seen, a moment later.
  talk.opaque_bytes -= std::min(talk.opaque_bytes, live.told_opaque);
  talk.opaque_bytes += now.opaque;
  Share& share = share_of(talk);
  share.plaintext_bytes += now.plaintext - std::min(now.plaintext, live.told_plaintext);
  live.told_plaintext = now.plaintext;
  live.told_opaque = now.opaque;
  const bool unexplained = talk.reason == Unseen::kNotExamined;  // perhaps it is known by now
  if (live.refused) {
    const bool first = !std::exchange(live.counted_refused, true);
    if (first) ++talk.refused;
    if (first || unexplained) talk.reason = why(live);
  }
  if (now.opaque == 0) return;
  const bool first = !std::exchange(live.counted_opaque, true);
  if (first) ++talk.opaque_connections;
  if (first || unexplained) talk.reason = why(live);
  const std::uint64_t more = now.opaque - std::min(now.opaque, live.metered_opaque);
  live.metered_opaque += more;
  share.opaque_bytes += more;
  meter(talk, *talk.reason, more, first);
}

Unseen Coverage::why(const Live& live) {
  if (live.kernel_tls) return Unseen::kKernelTls;
  const std::optional<Unseen> reason = tls_ != nullptr ? tls_->reason_of(live.socket.tgid) : std::nullopt;
  if (reason == Unseen::kJava) return Unseen::kJava;
  if (live.spliced || live.ring) return Unseen::kForeignSend;
  // That its images are still being looked at explains it only if nothing else does.
  const bool examining = reason == Unseen::kNotExamined;
  if (reason && !examining) return *reason;
  if (live.interest == Interest::kHidden && live.hello.ech) return Unseen::kEch;
  if (live.joined) return Unseen::kJoinedLate;
  if (examining) return Unseen::kNotExamined;
  const bool probed = tls_ != nullptr && !tls_->runtime_of(live.socket.tgid).empty();
  return !probed ? Unseen::kUnknownTls : Unseen::kBypassed;
}

void Coverage::meter(const Talk& talk, Unseen reason, std::uint64_t bytes, bool connection) {
  std::tuple key{talk.subject.ns, talk.runtime, std::string(name(reason))};
  if (!opaque_.contains(key) && opaque_.size() >= limits_.meters) std::get<0>(key) = "_other";
  Meter& meter = opaque_[key];
  meter.bytes += bytes;
  if (connection) ++meter.connections;
}

Coverage::Share& Coverage::share_of(const Talk& talk) {
  std::pair key{talk.subject.ns, talk.runtime};
  if (!shares_.contains(key) && shares_.size() >= limits_.meters) key.first = "_other";
  return shares_[key];
}

void Coverage::refresh() {
  std::vector<std::uint64_t> gone;
  for (auto& [cookie, live] : live_) {
    if (live.interest < Interest::kHidden) continue;
    if (const auto wire = gate_.wire_bytes(live.socket)) {
      live.unanswered = 0;
      live.wire.sent = std::max(live.wire.sent, wire->sent);
      live.wire.received = std::max(live.wire.received, wire->received);
      live.kernel_tls = live.kernel_tls || wire->kernel_tls;
    } else if (++live.unanswered >= kGivenUp) {
      gone.push_back(cookie);
    }
    update(live);
  }
  for (const std::uint64_t cookie : gone) finish(cookie);
  refresh_datagrams();
}

void Coverage::refresh_datagrams() {
  std::unordered_map<std::uint64_t, ToldDatagrams> still;
  for (const gate::Datagrams& found : gate_.datagrams()) {
    const pn_datagram_val& value = found.value;
    const auto before = datagrams_.find(found.cookie);
    const ToldDatagrams told = before == datagrams_.end() ? ToldDatagrams{} : before->second;
    ToldDatagrams& now = still[found.cookie];
    now = {value.sent_bytes + value.received_bytes, value.refused};
    // A socket that was connected and never used (a resolver sorts addresses so) has said nothing.
    if (now.bytes <= told.bytes && now.refused <= told.refused) continue;
    const model::Subject& subject = subjects_.subject(value.tgid);
    gate::SocketRef socket;
    socket.family = value.family;
    socket.remote_port = value.remote_port;
    std::memcpy(socket.remote_addr.data(), value.remote_addr, sizeof value.remote_addr);
    const std::string address = address_of(gate::remote_of(socket));
    Talk& talk = talk_at({subject.process, address, true}, subject);
    if (talk.target.empty()) {
      talk.target = talk.address = address;
      talk.provider = host_.ai_provider(socket, {}).value_or(std::string());
      talk.reason = Unseen::kQuic;
    }
    talk.last_boot_ns = clock_.boot_ns();
    talk.refused += now.refused - std::min(now.refused, told.refused);
    const std::uint64_t more = now.bytes - std::min(now.bytes, told.bytes);
    const bool first = told.bytes == 0;
    if (first) ++talk.connections;
    if (first && more > 0) ++talk.opaque_connections;
    talk.opaque_bytes += more;
    share_of(talk).opaque_bytes += more;
    if (more > 0) meter(talk, Unseen::kQuic, more, first);
  }
  datagrams_ = std::move(still);
}

std::vector<const Talk*> Coverage::talks() const {
  std::vector<const Talk*> out;
  out.reserve(talks_.size());
  for (const auto& [key, talk] : talks_) out.push_back(&talk);
  return out;
}

}  // namespace penstock::pipeline
