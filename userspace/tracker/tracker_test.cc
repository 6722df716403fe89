#include "userspace/tracker/tracker.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "userspace/tracker/synthetic_events.h"

namespace penstock::tracker {
namespace {

using synthetic::bytes_of;

// What a parser was told, as text: positions, bytes, gaps.
class FakeParser final : public parsers::ConnectionParser {
 public:
  void feed(parsers::Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes,
            std::uint64_t) override {
    const auto d = static_cast<std::size_t>(direction);
    // The contract of ConnectionParser: contiguous, except after gap().
    EXPECT_TRUE(first_[d] || pos == next_[d]);
    first_[d] = false;
    next_[d] = pos + bytes.size();
    text[d].append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void gap(parsers::Direction direction, std::uint64_t bytes) override {
    const auto d = static_cast<std::size_t>(direction);
    text[d] += "<gap " + std::to_string(bytes) + ">";
    next_[d] += bytes;
    gap_bytes += bytes;
  }
  void close(std::uint64_t) override { closed = true; }
  parsers::Protocol protocol() const override { return parsers::Protocol::kUnknown; }
  bool request_open() const override { return false; }
  void read_open_requests() override {}
  std::uint64_t settled_pos() const override { return 0; }

  std::string text[2];
  std::uint64_t gap_bytes = 0;
  bool closed = false;

 private:
  bool first_[2] = {true, true};
  std::uint64_t next_[2] = {};
};

struct Record {
  ConnectionInfo opened_with;
  std::string text[2];
  std::uint64_t gap_bytes = 0;
  int gates = 0;
  int unseen = 0;
  int rebinds = 0;
  bool closed = false;
};

class FakeHost;

class FakeHandler final : public ConnectionHandler {
 public:
  FakeHandler(FakeHost& host, const ConnectionInfo& info) : host_(host), info_(info) {}
  parsers::ConnectionParser& parser() override { return parser_; }
  void on_fed(std::uint64_t) override { publish(); }
  void on_gate(const pn_ev_gate&, bool unseen) override;
  void on_rebound(std::uint64_t) override;
  bool pinned() const override { return pinned_; }
  void on_closed(std::uint64_t) override;
  void publish();
  bool pinned_ = false;

 private:
  FakeHost& host_;
  const ConnectionInfo& info_;
  FakeParser parser_;
};

class FakeHost final : public Host {
 public:
  std::unique_ptr<ConnectionHandler> open(const ConnectionInfo& info) override {
    records[info.stream].opened_with = info;
    auto handler = std::make_unique<FakeHandler>(*this, info);
    handler->pinned_ = pin_next;
    return handler;
  }
  std::optional<gate::SocketRef> find_socket(std::uint64_t cookie) override {
    const auto it = sockets.find(cookie);
    return it == sockets.end() ? std::nullopt : std::optional(it->second);
  }
  std::map<std::uint64_t, Record> records;
  std::map<std::uint64_t, gate::SocketRef> sockets;
  bool pin_next = false;
};

void FakeHandler::publish() {
  Record& record = host_.records[info_.stream];
  for (int d = 0; d < 2; ++d) record.text[d] = parser_.text[d];
  record.gap_bytes = parser_.gap_bytes;
}
void FakeHandler::on_gate(const pn_ev_gate&, bool unseen) {
  ++host_.records[info_.stream].gates;
  host_.records[info_.stream].unseen += unseen ? 1 : 0;
}
void FakeHandler::on_rebound(std::uint64_t) { ++host_.records[info_.stream].rebinds; }
void FakeHandler::on_closed(std::uint64_t) {
  publish();
  host_.records[info_.stream].closed = parser_.closed;
}

class TrackerTest : public testing::Test {
 protected:
  void data(std::uint64_t stream, std::uint64_t pos, std::string_view text, pn_direction direction = PN_TO_SERVER,
            std::uint64_t cookie = 0, std::uint8_t flags = 0) {
    received_ += text.size();
    tracker().on_data(synthetic::data(stream, cookie, direction, pos, text.size(), flags, task_, ++now_),
                      bytes_of(text));
  }
  void offer(std::uint64_t stream, std::uint64_t pos, std::string_view text) {
    data(stream, pos, text, PN_TO_SERVER, 0, PN_DATA_PROVISIONAL);
  }
  void bind(std::uint64_t stream, std::uint64_t cookie) {
    tracker().on_bind(synthetic::bind(stream, cookie, 1000, false, task_, ++now_));
  }
  void gate(std::uint64_t stream, std::uint64_t cookie, std::uint64_t pos, std::uint64_t len,
            pn_gate_what what = PN_GATE_CLOSED) {
    tracker().on_gate(synthetic::gate(stream, cookie, what, pos, len, 0, task_, ++now_));
  }
  void close(std::uint64_t stream, std::uint64_t cookie, std::uint64_t to_server, std::uint64_t to_client) {
    tracker().on_conn_close(synthetic::conn_close(stream, cookie, to_server, to_client, ++now_));
  }
  Tracker& tracker() {
    if (!tracker_) tracker_ = std::make_unique<Tracker>(host_, options_);
    return *tracker_;
  }
  void expect_bytes_add_up() {
    const Counters& c = tracker().counters();
    EXPECT_EQ(received_, c.delivered_bytes[0] + c.delivered_bytes[1] + c.duplicate_bytes + c.withdrawn_bytes +
                             c.overflow_bytes + c.late_bytes + c.unattributed_bytes + tracker().buffered_bytes());
  }
  const std::string& sent(std::uint64_t stream) { return host_.records[stream].text[PN_TO_SERVER]; }

  FakeHost host_;
  Options options_;
  synthetic::Task task_;
  std::uint64_t now_ = 0;
  std::uint64_t received_ = 0;
  std::unique_ptr<Tracker> tracker_;
};

TEST_F(TrackerTest, BoundDataIsFedAtOnceAndEndsWithTheConnection) {
  bind(1, 11);
  data(1, 0, "GET ");
  data(1, 4, "/");
  data(1, 0, "200", PN_TO_CLIENT);
  EXPECT_EQ(sent(1), "GET /");
  EXPECT_EQ(host_.records[1].text[PN_TO_CLIENT], "200");
  EXPECT_EQ(host_.records[1].opened_with.socket.remote_port, 443);
  close(1, 11, 5, 3);
  EXPECT_TRUE(host_.records[1].closed);
  EXPECT_EQ(tracker().connections(), 0U);
  EXPECT_EQ(host_.records[1].gap_bytes, 0U);
  expect_bytes_add_up();
}

TEST_F(TrackerTest, DataBeforeItsBindIsReplayedInOrder) {
  data(1, 0, "ab");
  data(1, 0, "XY", PN_TO_CLIENT);
  data(1, 2, "cd");
  EXPECT_TRUE(host_.records.empty());
  EXPECT_EQ(tracker().buffered_bytes(), 6U);
  bind(1, 11);
  EXPECT_EQ(sent(1), "abcd");
  EXPECT_EQ(tracker().buffered_bytes(), 0U);
}

TEST_F(TrackerTest, UnboundBytesBeyondTheLimitBecomeACountedGap) {
  options_.unbound_stream_bytes = 4;
  data(1, 0, "abcd");
  data(1, 4, "lost!");
  EXPECT_EQ(tracker().counters().overflow_bytes, 5U);
  bind(1, 11);
  EXPECT_EQ(sent(1) + "|", "abcd<gap 5>|");
  data(1, 9, "on");
  EXPECT_EQ(sent(1), "abcd<gap 5>on");
  expect_bytes_add_up();
}

TEST_F(TrackerTest, ManyUnboundStreamsEvictTheOldest) {
  options_.max_unbound_streams = 2;
  data(1, 0, "one");
  data(2, 0, "two");
  data(3, 0, "three");
  EXPECT_EQ(tracker().counters().evicted_unbound, 1U);
  EXPECT_EQ(tracker().counters().unattributed_bytes, 3U);
  bind(1, 11);  // too late: not resurrected
  EXPECT_FALSE(host_.records.contains(1));
  EXPECT_EQ(tracker().counters().late_events, 1U);
  expect_bytes_add_up();
}

TEST_F(TrackerTest, AllUnboundStreamsTogetherAreBounded) {
  options_.buffered_bytes = 6;
  data(1, 0, "aaa");
  data(2, 0, "bbb");
  data(3, 0, "ccc");
  EXPECT_EQ(tracker().buffered_bytes(), 6U);
  EXPECT_EQ(tracker().counters().unattributed_bytes, 3U);
  data(3, 3, "much more than fits");
  EXPECT_LE(tracker().buffered_bytes(), 6U);
  expect_bytes_add_up();
}

TEST_F(TrackerTest, HolesAreGaps) {
  bind(1, 11);
  data(1, 0, "ab");
  data(1, 10, "cd");
  EXPECT_EQ(sent(1), "ab<gap 8>cd");
  close(1, 11, 20, 5);
  EXPECT_EQ(sent(1), "ab<gap 8>cd<gap 8>");
  EXPECT_EQ(host_.records[1].text[PN_TO_CLIENT], "<gap 5>");
}

TEST_F(TrackerTest, ReofferedPositionsAreNotASecondRequest) {
  bind(1, 11);
  data(1, 0, "abcd");
  data(1, 0, "abcd");
  data(1, 2, "cdef");
  EXPECT_EQ(sent(1), "abcdef");
  EXPECT_EQ(tracker().counters().duplicate_bytes, 6U);
  expect_bytes_add_up();
}

TEST_F(TrackerTest, ProvisionalDataWaitsForItsGateEvent) {
  bind(1, 11);
  offer(1, 0, "hello");
  EXPECT_EQ(sent(1), "");
  gate(1, 11, 0, 5);
  EXPECT_EQ(sent(1), "hello");
  EXPECT_EQ(host_.records[1].gates, 1);
  expect_bytes_add_up();
}

TEST_F(TrackerTest, WithdrawnDataNeverHappened) {
  bind(1, 11);
  offer(1, 0, "hello");
  tracker().on_withdraw(synthetic::withdraw(1, 11, 0, task_, ++now_));
  offer(1, 0, "HELLO");
  gate(1, 11, 0, 5);
  EXPECT_EQ(sent(1), "HELLO");
  EXPECT_EQ(tracker().counters().withdrawn_bytes, 5U);
  expect_bytes_add_up();
}

TEST_F(TrackerTest, WhatIsOfferedLastIsWhatIsSent) {
  bind(1, 11);
  offer(1, 0, "abc");
  offer(1, 3, "def");
  offer(1, 2, "XYZ");  // the withdrawal of "def" was lost
  gate(1, 11, 0, 5);
  EXPECT_EQ(sent(1), "abXYZ");
  expect_bytes_add_up();
}

TEST_F(TrackerTest, AContinuedWriteIsOneIntent) {
  bind(1, 11);
  offer(1, 0, "abcdef");
  gate(1, 11, 0, 6);
  offer(1, 0, "abcdef");
  gate(1, 11, 0, 6, PN_GATE_BEHIND);
  EXPECT_EQ(sent(1), "abcdef");
  EXPECT_EQ(tracker().counters().duplicate_bytes, 6U);
  EXPECT_EQ(tracker().buffered_bytes(), 0U);
  expect_bytes_add_up();
}

TEST_F(TrackerTest, ACommittedWriteThatCouldNotBeCopiedWholeIsAGap) {
  bind(1, 11);
  data(1, 0, "head", PN_TO_SERVER, 0, PN_DATA_PROVISIONAL | PN_DATA_PARTIAL);
  gate(1, 11, 0, 100);
  EXPECT_EQ(sent(1), "head<gap 96>");
}

TEST_F(TrackerTest, ProvisionalDataIsBounded) {
  options_.provisional_stream_bytes = 4;
  bind(1, 11);
  offer(1, 0, "abcd");
  offer(1, 4, "efgh");
  EXPECT_EQ(tracker().buffered_bytes(), 4U);
  gate(1, 11, 0, 8);
  EXPECT_EQ(sent(1), "abcd<gap 4>");
  expect_bytes_add_up();
}

TEST_F(TrackerTest, AGateEventBindsAStreamWhoseBindWasLost) {
  host_.sockets[11].remote_port = 8443;
  offer(1, 0, "abc");
  gate(1, 11, 0, 3);
  EXPECT_EQ(sent(1), "abc");
  EXPECT_EQ(host_.records[1].opened_with.socket.remote_port, 8443);
  EXPECT_EQ(tracker().counters().adopted, 1U);
}

TEST_F(TrackerTest, AdoptionCountsLostBytesUnlessTheyPassedBeforeThisProcess) {
  data(1, 100, "tail", PN_TO_SERVER, 11);
  EXPECT_EQ(sent(1), "<gap 100>tail");
  tracker_.reset();
  host_.records.clear();
  options_.resumed = true;
  data(2, 100, "tail", PN_TO_SERVER, 12);
  EXPECT_EQ(sent(2), "tail");
  EXPECT_TRUE(host_.records[2].opened_with.joined);
}

TEST_F(TrackerTest, OpaqueGateEventsCommitNothing) {
  bind(1, 11);
  offer(1, 0, "abc");
  gate(1, 11, 0, 900, PN_GATE_OPAQUE);
  EXPECT_EQ(sent(1), "");
  EXPECT_EQ(host_.records[1].gates, 1);
}

TEST_F(TrackerTest, EventsAfterTheEndAreLateNotNew) {
  bind(1, 11);
  close(1, 11, 0, 0);
  data(1, 0, "late");
  gate(1, 11, 0, 4);
  EXPECT_EQ(tracker().counters().late_events, 2U);
  EXPECT_EQ(tracker().counters().late_bytes, 4U);
  EXPECT_EQ(tracker().unbound(), 0U);
}

TEST_F(TrackerTest, ConnCloseWithoutAStreamEndsByCookie) {
  bind(1, 11);
  close(0, 11, 0, 0);
  EXPECT_TRUE(host_.records[1].closed);
}

TEST_F(TrackerTest, ARebindMovesTheStream) {
  bind(1, 11);
  bind(1, 12);
  EXPECT_EQ(host_.records[1].rebinds, 1);
  EXPECT_EQ(tracker().find_cookie(11), nullptr);
  EXPECT_NE(tracker().find_cookie(12), nullptr);
}

TEST_F(TrackerTest, FullTableEvictsTheLeastRecentlyActiveButNothingHeld) {
  options_.max_connections = 3;
  host_.pin_next = true;
  bind(1, 11);
  host_.pin_next = false;
  bind(2, 12);
  bind(3, 13);
  data(2, 0, "x");
  bind(4, 14);
  EXPECT_TRUE(host_.records[3].closed);
  EXPECT_FALSE(host_.records[1].closed);
  EXPECT_FALSE(host_.records[2].closed);
  EXPECT_EQ(tracker().counters().evicted_connections, 1U);
}

TEST_F(TrackerTest, ReconcileEndsWhatIsGone) {
  bind(1, 11);
  bind(2, 12);
  tracker().reconcile({12}, now_ + 1, now_ + 1);
  EXPECT_TRUE(host_.records[1].closed);
  EXPECT_FALSE(host_.records[2].closed);
  EXPECT_EQ(tracker().counters().reconciled, 1U);
}

// Loss at random over many interleaved streams: positions passed = delivered + gaps, and every byte received is
// accounted.
TEST_F(TrackerTest, GeneratedIsDeliveredPlusGaps) {
  std::mt19937 random(7);
  std::uint64_t passed = 0;
  constexpr int kStreams = 200;
  std::vector<std::array<std::uint64_t, 2>> pos(kStreams);
  std::vector<bool> gated(kStreams);
  for (int i = 0; i < kStreams; ++i) {
    gated[static_cast<std::size_t>(i)] = i % 3 == 0;
    if (random() % 4 != 0) bind(static_cast<std::uint64_t>(i) + 1, static_cast<std::uint64_t>(i) + 1000);
  }
  for (int round = 0; round < 20000; ++round) {
    const auto i = static_cast<std::size_t>(random() % kStreams);
    const auto direction = random() % 2 == 0 ? PN_TO_SERVER : PN_TO_CLIENT;
    const std::string text(1 + random() % 64, 'x');
    const std::uint64_t at = pos[i][direction];
    pos[i][direction] += text.size();
    passed += text.size();
    const bool lost = random() % 10 == 0;
    if (direction == PN_TO_SERVER && gated[i]) {
      if (!lost) offer(i + 1, at, text);
      if (random() % 10 != 0) gate(i + 1, i + 1000, at, text.size());
    } else if (!lost) {
      data(i + 1, at, text, direction, i + 1000);
    }
  }
  for (std::size_t i = 0; i < kStreams; ++i) close(i + 1, i + 1000, pos[i][0], pos[i][1]);
  const Counters& c = tracker().counters();
  EXPECT_EQ(passed, c.delivered_bytes[0] + c.delivered_bytes[1] + c.gap_bytes[0] + c.gap_bytes[1]);
  EXPECT_GT(c.gap_bytes[0], 0U);
  EXPECT_EQ(tracker().connections() + tracker().unbound(), 0U);
  EXPECT_EQ(tracker().buffered_bytes(), 0U);
  expect_bytes_add_up();
}

// ---- records sealed before their socket was known ------------------------------------------------------------------

class Offered : public TrackerTest {
 protected:
  void gate_from(std::uint64_t stream, std::uint64_t cookie, std::uint64_t pos, std::uint64_t len,
                 std::uint64_t data_stream, std::uint64_t data_pos) {
    pn_ev_gate event = synthetic::gate(stream, cookie, PN_GATE_OBSERVED, pos, len, 0, task_, ++now_);
    event.data_stream = data_stream;
    event.data_pos = data_pos;
    tracker().on_gate(event);
  }
};

TEST_F(Offered, MovesToTheConnectionThatSentIt) {
  constexpr std::uint64_t kThread = 900;
  bind(1, 11);
  bind(2, 12);
  offer(kThread, 0, "one");
  offer(kThread, 3, "two");
  offer(kThread, 6, "three");
  gate_from(2, 12, 0, 3, kThread, 3);  // the second was sent first, on another connection
  gate_from(1, 11, 0, 8, kThread, 0);  // what is missing of the rest is a gap, not somebody else's bytes
  EXPECT_EQ("two", sent(2));
  EXPECT_EQ("one<gap 3>th", sent(1));
  gate_from(2, 12, 3, 3, kThread, 8);
  EXPECT_EQ("tworee", sent(2));
  EXPECT_EQ(0u, tracker().buffered_bytes());
  EXPECT_EQ(0u, tracker().unbound()) << "nothing is offered any more";
  offer(kThread, 11, "four");
  gate_from(1, 11, 8, 4, kThread, 11);
  EXPECT_TRUE(sent(1).ends_with("four")) << "the thread goes on under its name";
}

TEST_F(Offered, WhatIsNeverSentIsDroppedInTheEnd) {
  constexpr std::uint64_t kThread = 900, kFar = std::uint64_t{8} << 20;
  bind(1, 11);
  offer(kThread, 0, "lost");
  offer(kThread, kFar, "sent");
  gate_from(1, 11, 0, 4, kThread, kFar);
  EXPECT_EQ("sent", sent(1));
  EXPECT_EQ(4u, tracker().counters().withdrawn_bytes);
  EXPECT_EQ(0u, tracker().buffered_bytes());
}

}  // namespace
}  // namespace penstock::tracker
