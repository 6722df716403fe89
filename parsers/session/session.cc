#include "parsers/session/session.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "parsers/session/call.h"
#include "parsers/wire/http1/http1.h"

namespace penstock::parsers::session {
namespace {

namespace http = wire::http;
namespace http1 = wire::http1;

class Session final : public ConnectionParser, http::Sink {
 public:
  Session(const Endpoint& endpoint, bool joined, ExchangeSink& sink) : endpoint_(endpoint), joined_(joined), sink_(sink) {}

  void feed(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes, std::uint64_t when_boot_ns) override {
    now_ns_ = when_boot_ns;
    if (direction == Direction::kToServer) to_server_end_ = pos + bytes.size();
    if (bytes.empty() || protocol_ == Protocol::kOther) return;
    if (protocol_ == Protocol::kUnknown && !recognise(direction, pos, bytes)) return;
    if (http1_) http1_->feed(direction, pos, bytes);
  }

  void gap(Direction direction, std::uint64_t bytes) override {
    early_.clear();
    if (http1_) http1_->gap(direction, bytes);
  }

  void close(std::uint64_t when_boot_ns) override {
    now_ns_ = when_boot_ns;
    if (http1_) http1_->close();
    for (auto& [stream, call] : calls_) call->response_end(false, {}, now_ns_);
    calls_.clear();
  }

  Protocol protocol() const override { return protocol_; }
  bool request_open() const override { return http1_ && !http1_->tunnel() ? http1_->request_open() : !early_.empty(); }
  std::uint64_t settled_pos() const override {
    if (protocol_ == Protocol::kUnknown) return to_server_end_ - early_.size();
    return http1_ && !http1_->tunnel() ? http1_->settled_pos() : to_server_end_;
  }

 private:
  // Decides by what the client sends first; true when the bytes are to be fed on. What the server sends before is no part
  // of a protocol we read, unless we joined late.
  bool recognise(Direction direction, std::uint64_t pos, std::span<const std::uint8_t> bytes) {
    if (direction == Direction::kToClient) {
      if (!joined_) return false;
      return begin_http1();
    }
    if (joined_) return begin_http1();
    const std::uint64_t first_pos = pos - early_.size();
    early_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::span<const std::uint8_t> start{reinterpret_cast<const std::uint8_t*>(early_.data()), early_.size()};
    switch (http1::sniff_request(start)) {
      case ParseState::kNeedMore:
        return false;
      case ParseState::kDone: {
        begin_http1();
        const std::string all = std::exchange(early_, {});
        http1_->feed(direction, first_pos, {reinterpret_cast<const std::uint8_t*>(all.data()), all.size()});
        return false;
      }
      default:
        early_.clear();
        protocol_ = Protocol::kOther;
        return false;
    }
  }

  bool begin_http1() {
    protocol_ = Protocol::kHttp1;
    http1_ = std::make_unique<http1::Connection>(static_cast<http::Sink&>(*this), http::Options{.joined = joined_});
    return true;
  }

  Call* find(http::StreamId stream) {
    const auto it = calls_.find(stream);
    return it == calls_.end() ? nullptr : it->second.get();
  }

  void on_request_head(http::StreamId stream, const http::RequestHead& head, std::uint64_t) override {
    auto call = std::make_unique<Call>(endpoint_, sink_);
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
    if (Call* call = find(stream)) call->response_head(head, to_server_end_, now_ns_);
  }

  void on_response_body(http::StreamId stream, std::span<const std::uint8_t> bytes, std::uint64_t) override {
    if (Call* call = find(stream)) call->response_body(bytes, now_ns_);
  }

  void on_response_end(http::StreamId stream, const http::Fields& trailers, http::End end) override {
    const auto it = calls_.find(stream);
    if (it == calls_.end()) return;
    it->second->response_end(end == http::End::kComplete, trailers, now_ns_);
    calls_.erase(it);
  }

  void on_loss(http::StreamId stream, Direction direction, std::uint64_t bytes) override {
    if (Call* call = find(stream)) call->lost(direction, bytes);
  }

  const Endpoint endpoint_;
  const bool joined_;
  ExchangeSink& sink_;
  Protocol protocol_ = Protocol::kUnknown;
  std::unique_ptr<http1::Connection> http1_;
  std::map<http::StreamId, std::unique_ptr<Call>> calls_;
  std::string early_;                // the client's first bytes, until they tell the protocol (bounded by the sniffer)
  std::uint64_t to_server_end_ = 0;
  std::uint64_t now_ns_ = 0;
};

}  // namespace

std::unique_ptr<ConnectionParser> make_connection_parser(const Endpoint& endpoint, bool joined, ExchangeSink& sink) {
  return std::make_unique<Session>(endpoint, joined, sink);
}

}  // namespace penstock::parsers::session
