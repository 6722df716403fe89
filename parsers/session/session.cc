#include "parsers/session/session.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "parsers/session/call.h"
#include "parsers/session/lines.h"
#include "parsers/session/select.h"
#include "parsers/session/socket.h"
#include "parsers/wire/http1/http1.h"
#include "parsers/wire/http2/http2.h"

namespace penstock::parsers::session {
namespace {

namespace http = wire::http;
namespace http1 = wire::http1;
namespace http2 = wire::http2;

class Session final : public ConnectionParser, http::Sink {
 public:
  Session(const Endpoint& endpoint, bool joined, ExchangeSink& sink)
      : endpoint_(endpoint), joined_(joined), sink_(sink) {
    if (endpoint.pipes) begin_lines();
  }

  void feed(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes,
            std::uint64_t when_boot_ns) override {
    now_ns_ = when_boot_ns;
    if (direction == Direction::kToServer) to_server_end_ = pos + bytes.size();
    if (bytes.empty() || protocol_ == Protocol::kOther) return;
    if (protocol_ == Protocol::kUnknown && !recognise(direction, pos, bytes)) return;
    feed_transport(direction, pos, bytes);
  }

  void gap(Direction direction, std::uint64_t bytes) override {
    early_.clear();
    if (lines_) {
      lines_->gap(direction, bytes);
    } else if (socket_) {
      socket_->gap(direction, bytes);
    } else if (http1_) {
      http1_->gap(direction, bytes);
    } else if (http2_) {
      http2_->gap(direction, bytes);
    }
  }

  void close(std::uint64_t when_boot_ns) override {
    now_ns_ = when_boot_ns;
    if (http1_) http1_->close();
    if (http2_) http2_->close();
    if (socket_) socket_->close(now_ns_);
    for (auto& [stream, socket] : sockets_) socket->close(now_ns_);
    if (lines_) lines_->close(now_ns_);
    for (auto& [stream, call] : calls_) call->response_end(false, {}, now_ns_);
    calls_.clear();
  }

  Protocol protocol() const override { return protocol_; }
  bool request_open() const override {
    if (lines_) return lines_->request_open();
    if (socket_) return socket_->request_open();
    if (http2_) return http2_->request_open();
    return http1_ && !http1_->tunnel() ? http1_->request_open() : !early_.empty();
  }
  void read_open_requests() override {
    for (auto& [stream, call] : calls_) call->read_so_far();
  }
  std::uint64_t settled_pos() const override {
    if (lines_) return lines_->settled_pos();
    if (socket_) return std::max(tunnel_pos_, socket_->settled_pos());
    if (http2_) return http2_->settled_pos();
    if (protocol_ == Protocol::kUnknown) return to_server_end_ - early_.size();
    return http1_ && !http1_->tunnel() ? http1_->settled_pos() : to_server_end_;
  }

 private:
  // Decides by what the client sends first; true when the bytes are to be fed on. What the server sends before is no
  // part of a protocol we read, unless we joined late: then either side's first bytes tell, if they can.
  bool recognise(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes) {
    if (joined_) return recognise_joined(direction, bytes);
    if (direction == Direction::kToClient) return false;
    const std::uint64_t first_pos = pos - early_.size();
    early_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::span<const std::uint8_t> start{reinterpret_cast<const std::uint8_t*>(early_.data()), early_.size()};
    const ParseState h2 = http2::sniff_preface(start);
    const ParseState h1 = http1::sniff_request(start);
    if (h2 == ParseState::kDone) {
      begin_http2();
    } else if (h1 == ParseState::kDone) {
      begin_http1();
    } else if (sniff_line(start) == ParseState::kDone && begin_lines()) {
      // JSON-RPC over a pipe.
    } else if (h1 == ParseState::kNeedMore || h2 == ParseState::kNeedMore) {
      return false;
    } else {
      early_.clear();
      protocol_ = Protocol::kOther;
      return false;
    }
    const std::string all = std::exchange(early_, {});
    feed_transport(direction, first_pos, {reinterpret_cast<const std::uint8_t*>(all.data()), all.size()});
    return false;
  }

  // From the middle of a connection: a start line is HTTP/1, a plausible frame head is HTTP/2, anything else is the
  // body of an HTTP/1 message, behind which the next start line is found.
  bool recognise_joined(Direction direction, std::span<const std::uint8_t> bytes) {
    const bool client = direction == Direction::kToServer;
    const ParseState h1 = client ? http1::sniff_request(bytes) : http1::sniff_response(bytes);
    if (h1 != ParseState::kDone && (http2::sniff_preface(bytes) == ParseState::kDone || http2_frame(bytes))) {
      begin_http2();
    } else {
      begin_http1();
    }
    return true;
  }

  // RFC 9113 §4.1: 24-bit length, a type that exists, flags, a 31-bit stream id that fits the type.
  static bool http2_frame(std::span<const std::uint8_t> bytes) {
    if (bytes.size() < 9) return false;
    const std::uint32_t length =
        static_cast<std::uint32_t>(bytes[0]) << 16 | static_cast<std::uint32_t>(bytes[1]) << 8 | bytes[2];
    const std::uint32_t stream = static_cast<std::uint32_t>(bytes[5] & 0x7f) << 24 |
                                 static_cast<std::uint32_t>(bytes[6]) << 16 |
                                 static_cast<std::uint32_t>(bytes[7]) << 8 | bytes[8];
    const std::uint8_t type = bytes[3];
    if (length > 16384 || type > 9 || (bytes[5] & 0x80) != 0) return false;
    const bool of_connection = type == 4 || type == 6 || type == 7;  // SETTINGS, PING, GOAWAY
    return type == 8 || (stream == 0) == of_connection;
  }

  bool begin_lines() {
    const AgentProtocol* protocol = nullptr;
    auto conversation = select_line_protocol(&protocol);
    if (conversation == nullptr) return false;
    protocol_ = Protocol::kJsonRpc;
    lines_ = std::make_unique<Lines>(endpoint_, *protocol, std::move(conversation), sink_);
    return true;
  }

  void begin_http1() {
    protocol_ = Protocol::kHttp1;
    http1_ = std::make_unique<http1::Connection>(static_cast<http::Sink&>(*this), http::Options{.joined = joined_});
  }

  void begin_http2() {
    protocol_ = Protocol::kHttp2;
    http2_ = std::make_unique<http2::Connection>(static_cast<http::Sink&>(*this), http::Options{.joined = joined_});
  }

  void feed_transport(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes) {
    if (http1_) http1_->feed(direction, pos, bytes);
    if (http2_) http2_->feed(direction, pos, bytes);
    if (lines_) lines_->feed(direction, pos, bytes, now_ns_);
  }

  Call* find(http::StreamId stream) {
    const auto it = calls_.find(stream);
    return it == calls_.end() ? nullptr : it->second.get();
  }

  void on_request_head(http::StreamId stream, const http::RequestHead& head, std::uint64_t) override {
    auto call = std::make_unique<Call>(endpoint_, selector_, agent_protocol_, sink_);
    Call& begun = *call;
    calls_[stream] = std::move(call);
    begun.request_head(head, now_ns_);
  }

  void on_request_body(http::StreamId stream, std::span<const std::uint8_t> bytes, std::uint64_t) override {
    if (Call* call = find(stream)) call->request_body(bytes);
  }

  void on_request_end(http::StreamId stream, const http::Fields&, std::uint64_t end_pos) override {
    if (Call* call = find(stream)) call->request_end(end_pos, now_ns_);
  }

  void on_response_head(http::StreamId stream, const http::ResponseHead& head, std::uint64_t) override {
    Call* call = find(stream);
    if (call == nullptr) {
      auto unseen = std::make_unique<Call>(endpoint_, selector_, agent_protocol_, sink_);
      call = unseen.get();
      calls_[stream] = std::move(unseen);
      call->unseen_request(now_ns_);
    }
    call->response_head(head, to_server_end_, now_ns_);
  }

  void on_response_body(http::StreamId stream, std::span<const std::uint8_t> bytes, std::uint64_t) override {
    if (Call* call = find(stream)) call->response_body(bytes, now_ns_);
  }

  void on_response_end(http::StreamId stream, const http::Fields& trailers, http::End end) override {
    if (const auto socket = sockets_.find(stream); socket != sockets_.end()) {
      socket->second->close(now_ns_);
      sockets_.erase(socket);
    }
    const auto it = calls_.find(stream);
    if (it == calls_.end()) return;
    it->second->response_end(end == http::End::kComplete, trailers, now_ns_);
    calls_.erase(it);
  }

  void on_loss(http::StreamId stream, Direction direction, std::uint64_t bytes) override {
    if (Call* call = find(stream)) call->lost(direction, bytes);
    if (const auto socket = sockets_.find(stream); socket != sockets_.end()) socket->second->gap(direction, bytes);
  }

  // The connection, or a stream of it, is no longer HTTP: ours if it is a WebSocket that a provider knows, else
  // nobody's.
  void on_tunnel_begin(http::StreamId stream, const http::ResponseHead& head) override {
    const auto it = calls_.find(stream);
    if (it == calls_.end()) return;
    Call& call = *it->second;
    const Provider* provider = nullptr;
    std::unique_ptr<Conversation> conversation;
    if (call.head().upgrade_to_websocket())
      conversation = select_conversation(endpoint_.provider, call.head(), &provider);
    std::unique_ptr<Socket> socket;
    if (conversation != nullptr)
      socket = std::make_unique<Socket>(call.head(), head.status, *provider, std::move(conversation),
                                        wire::websocket::options_of(head.fields), sink_);
    if (http2_) {
      if (socket) sockets_[stream] = std::move(socket);
    } else {
      protocol_ = socket ? Protocol::kWebSocket : Protocol::kOther;
      tunnel_pos_ = http1_->settled_pos();
      socket_ = std::move(socket);
    }
    call.response_head(head, to_server_end_, now_ns_);
    call.response_end(true, {}, now_ns_);
    calls_.erase(it);
  }

  void on_tunnel(http::StreamId stream, Direction direction, std::span<const std::uint8_t> bytes,
                 std::uint64_t pos) override {
    if (socket_) socket_->feed(direction, pos, bytes, now_ns_);
    if (const auto socket = sockets_.find(stream); socket != sockets_.end())
      socket->second->feed(direction, pos, bytes, now_ns_);
  }

  const Endpoint endpoint_;
  Selector selector_{endpoint_};
  const bool joined_;
  ExchangeSink& sink_;
  Protocol protocol_ = Protocol::kUnknown;
  std::unique_ptr<http1::Connection> http1_;
  std::unique_ptr<http2::Connection> http2_;
  std::unique_ptr<Lines> lines_;
  std::unique_ptr<Socket> socket_;
  std::map<http::StreamId, std::unique_ptr<Socket>> sockets_;  // HTTP/2: among other streams
  std::uint64_t tunnel_pos_ = 0;                               // where the WebSocket begins in the to-server plaintext
  const AgentProtocol* agent_protocol_ = nullptr;              // that the connection has carried so far
  std::map<http::StreamId, std::unique_ptr<Call>> calls_;
  std::string early_;  // the client's first bytes, until they tell the protocol (bounded by the sniffer)
  std::uint64_t to_server_end_ = 0;
  std::uint64_t now_ns_ = 0;
};

}  // namespace

std::unique_ptr<ConnectionParser> make_connection_parser(const Endpoint& endpoint, bool joined, ExchangeSink& sink) {
  return std::make_unique<Session>(endpoint, joined, sink);
}

}  // namespace penstock::parsers::session
