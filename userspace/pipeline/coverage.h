// Who talks to AI endpoints, and how much of it is seen in the clear. What TCP counts of a connection is held against
// the plaintext that the probes saw: the difference is *opaque*. AI endpoints are known by the name in the ClientHello,
// by address, and by what was read. Pipeline thread only. Bounded: connections (those of no interest go first) and rows
// (least recently active first); sums for metrics outlive both.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "parsers/wire/tls_hello/tls_hello.h"
#include "userspace/base/clock.h"
#include "userspace/gate/core/gate_control.h"
#include "userspace/model/agent.h"
#include "userspace/pipeline/ports.h"
#include "userspace/pipeline/unseen.h"
#include "userspace/tracker/tracker.h"

namespace penstock::pipeline {

// What coverage asks of the pipeline.
class CoverageHost {
 public:
  virtual ~CoverageHost() = default;
  // The provider behind this name (may be empty) or address: empty when it is an AI endpoint of nobody known, nullopt
  // when it is none as far as can be told.
  virtual std::optional<std::string> ai_provider(const gate::SocketRef& socket, std::string_view name) = 0;
  // Some policy gates it: where its traffic goes is of interest even without a name.
  virtual bool governed(const model::Subject& subject) = 0;
  // What was seen of a connection that is followed.
  virtual const tracker::ConnectionInfo* followed(std::uint64_t cookie) = 0;
};

// One process and one server.
struct Talk {
  enum class State : std::uint8_t { kPending, kCovered, kPartial, kOpaque, kRefused };
  model::Subject subject;
  std::string target;   // name, else address; with the port unless it is 443
  std::string address;  // of the last connection
  std::string sni, alpn, provider, runtime;
  bool ech = false;
  std::optional<Unseen> reason;
  std::uint64_t connections = 0, opaque_connections = 0, refused = 0;
  std::uint64_t plaintext_bytes = 0, opaque_bytes = 0;
  std::int64_t since_real_ns = 0;
  std::uint64_t last_boot_ns = 0;
  State state() const;
};
std::string_view name(Talk::State state);

// Ciphertext has overhead, prompts are not only words: an estimate, said to be one wherever it is shown.
constexpr std::uint64_t tokens_of_opaque(std::uint64_t bytes) { return bytes / 4; }

class Coverage {
 public:
  struct Limits {
    std::size_t connections = 16384;
    std::size_t talks = 4096;
    std::size_t meters = 512;
  };
  // `tls` may be null: then nothing is known of processes' libraries.
  Coverage(const base::Clock& clock, gate::GateControl& gate, SubjectSource& subjects, CoverageHost& host,
           TlsKnowledge* tls, const Limits& limits);

  // Whom the connection asks for, once: when its ClientHello was read and names an AI endpoint.
  struct Asked {
    gate::SocketRef socket;
    std::string provider;
  };
  std::optional<Asked> on_hello(const pn_ev_hello& event, std::span<const std::uint8_t> payload);
  void on_wire_end(const pn_ev_wire_end& event);
  // It is older than the daemon, and leads to an AI endpoint: shown before it says anything. What passed is nobody's.
  void on_older(const gate::SocketRef& socket, std::string_view provider);
  // A request to a model, tool or agent was read on it.
  void on_ai(const tracker::ConnectionInfo& info, std::string_view provider, std::string_view host);
  // It was refused because nobody could read it.
  void on_refused(const tracker::ConnectionInfo& info);
  // A stream of it ends: what passed is added to what others show.
  void on_stream_end(std::uint64_t cookie, const tracker::ConnectionInfo& info);

  bool is_ai(std::uint64_t cookie) const;
  // The name that its client asked for; empty: none, or an encrypted one.
  std::string_view server_name(std::uint64_t cookie) const;

  // Brings every figure up to date. About one question to the kernel per connection to an AI endpoint.
  void refresh();
  std::vector<const Talk*> talks() const;

  struct Meter {
    std::uint64_t bytes = 0, connections = 0;
  };
  // By (namespace, runtime, reason), and by (namespace, runtime): bytes seen and not seen.
  const std::map<std::tuple<std::string, std::string, std::string>, Meter>& opaque() const { return opaque_; }
  struct Share {
    std::uint64_t plaintext_bytes = 0, opaque_bytes = 0;
  };
  const std::map<std::pair<std::string, std::string>, Share>& shares() const { return shares_; }

 private:
  using TalkKey = std::tuple<model::ProcessKey, std::string, bool>;
  enum class Interest : std::uint8_t { kUndecided, kNone, kHidden, kAi };
  struct Live {
    gate::SocketRef socket;
    parsers::wire::tls_hello::FirstBytes first;
    parsers::wire::tls_hello::ClientHello hello;
    bool hello_read = false;
    Interest interest = Interest::kUndecided;
    std::string provider, host;
    bool spliced = false, ring = false, joined = false, kernel_tls = false, refused = false;
    std::array<std::uint64_t, 2> ended_bytes{}, ended_pieces{};  // plaintext of its streams that are over
    gate::WireBytes base, wire;
    std::uint32_t unanswered = 0;
    // Added to its talk so far.
    std::optional<TalkKey> talk;
    std::uint64_t told_plaintext = 0, told_opaque = 0, metered_opaque = 0;
    bool counted_opaque = false, counted_refused = false;
    std::list<std::uint64_t>::iterator order;
  };
  struct Figures {
    std::uint64_t plaintext = 0, opaque = 0;
  };

  Live* find(std::uint64_t cookie);
  Live& open(const gate::SocketRef& socket);
  void decide(Live& live);
  bool of_interest(const model::Subject& subject);
  void finish(std::uint64_t cookie);
  Figures figures(const Live& live) const;
  void update(Live& live);
  Talk& talk_of(Live& live);
  Talk& talk_at(const TalkKey& key, const model::Subject& subject);
  Unseen why(const Live& live);
  void meter(const Talk& talk, Unseen reason, std::uint64_t bytes, bool connection);
  void refresh_datagrams();
  Share& share_of(const Talk& talk);

  const base::Clock& clock_;
  gate::GateControl& gate_;
  SubjectSource& subjects_;
  CoverageHost& host_;
  TlsKnowledge* tls_;
  const Limits limits_;
  std::unordered_map<std::uint64_t, Live> live_;
  std::list<std::uint64_t> order_;  // least recently opened first
  std::map<TalkKey, Talk> talks_;
  struct ToldDatagrams {
    std::uint64_t bytes = 0;
    std::uint32_t refused = 0;
  };
  std::unordered_map<std::uint64_t, ToldDatagrams> datagrams_;
  std::map<std::tuple<std::string, std::string, std::string>, Meter> opaque_;
  std::map<std::pair<std::string, std::string>, Share> shares_;
};

}  // namespace penstock::pipeline
