// Adds the events of an HTTP connection to a fuzz log.
#pragma once

#include <map>

#include "parsers/wire/http/message.h"
#include "tests/fuzz/parsers/harness.h"

namespace penstock::fuzz {

class HttpLog final : public parsers::wire::http::Sink {
 public:
  using StreamId = parsers::wire::http::StreamId;
  using Fields = parsers::wire::http::Fields;
  std::uint64_t value() const { return log_.value(); }
  Log& log() { return log_; }
  // The request of this stream was seen elsewhere.
  void adopt(StreamId stream) { states_[stream] = {.requested = true, .request_ended = true}; }

  void on_request_head(StreamId stream, const parsers::wire::http::RequestHead& head, std::uint64_t pos) override {
    require(!states_[stream].requested, "a second request head");
    states_[stream] = {};
    states_[stream].requested = true;
    log_.event(1, stream);
    log_.event(pos, head.method);
    log_.event(2, head.target);
    log_.event(3, head.authority);
    log_.event(4, head.path());
    fields(head.fields);
  }
  void on_request_body(StreamId stream, Bytes bytes, std::uint64_t pos) override {
    require(states_[stream].requested, "a body without its head");
    body(stream * 2, bytes, pos);
  }
  void on_request_end(StreamId stream, const Fields& trailers, std::uint64_t end_pos) override {
    require(states_[stream].requested && !states_[stream].request_ended, "an end without a beginning");
    states_[stream].request_ended = true;
    log_.event(5, stream);
    log_.event(6, end_pos);
    fields(trailers);
  }
  void on_response_head(StreamId stream, const parsers::wire::http::ResponseHead& head, std::uint64_t pos) override {
    State& state = states_[stream];
    // Behind lost bytes nothing is known of a stream: it may be the one that was over.
    if (state.ended) state = {.requested = state.requested, .request_ended = state.request_ended};
    require(!state.answered && !state.ended, "a second answer");
    state.answered = true;
    log_.event(7, stream);
    log_.event(pos, head.status);
    fields(head.fields);
  }
  void on_response_body(StreamId stream, Bytes bytes, std::uint64_t pos) override {
    require(states_[stream].answered && !states_[stream].ended, "an answer's body outside of it");
    body(stream * 2 + 1, bytes, pos);
  }
  void on_response_end(StreamId stream, const Fields& trailers, parsers::wire::http::End end) override {
    require((states_[stream].requested || states_[stream].answered) && !states_[stream].ended, "a second end");
    states_[stream].ended = true;
    log_.event(8, stream);
    log_.event(9, static_cast<std::uint64_t>(end));
    fields(trailers);
  }
  void on_loss(StreamId stream, parsers::Direction, std::uint64_t bytes) override {
    log_.event(10, stream);
    log_.event(11, bytes);
  }
  void on_interim(StreamId stream, const parsers::wire::http::ResponseHead& head) override {
    log_.event(12, stream);
    fields(head.fields);
  }
  void on_tunnel_begin(StreamId stream, const parsers::wire::http::ResponseHead&) override { log_.event(13, stream); }
  void on_tunnel(StreamId stream, parsers::Direction direction, Bytes bytes, std::uint64_t pos) override {
    body(stream * 2 + (direction == parsers::Direction::kToServer ? 0u : 1u), bytes, pos);
  }
  void on_invalid(parsers::Direction, std::string_view why) override { log_.event(14, why); }

 private:
  struct State {
    bool requested = false, request_ended = false, answered = false, ended = false;
    bool operator==(const State&) const = default;
  };
  void fields(const Fields& fields) {
    log_.event(15, fields.size());
    for (std::size_t i = 0; i < fields.size(); ++i) {
      log_.event(16, fields[i].name);
      log_.event(17, fields[i].value);
    }
  }
  // Bodies of several streams interleave: each has a log of its own, whose end value is checked against the position.
  void body(std::uint64_t key, Bytes bytes, std::uint64_t pos) {
    Log& log = bodies_[key];
    for (std::size_t i = 0; i < bytes.size(); ++i) log.event(pos + i, bytes[i]);
  }

 public:
  // At the end: everything, bodies included.
  std::uint64_t total() {
    for (const auto& [key, log] : bodies_) log_.event(key, log.value());
    return log_.value();
  }

 private:
  Log log_;
  std::map<StreamId, State> states_;
  std::map<std::uint64_t, Log> bodies_;
};

}  // namespace penstock::fuzz
