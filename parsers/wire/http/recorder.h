// For tests: writes the events of an HTTP connection as lines of text, body pieces joined.
#pragma once

#include <string>

#include "parsers/wire/http/message.h"
#include "parsers/wire/testing.h"

namespace penstock::parsers::wire::http {

class Recorder final : public Sink {
 public:
  void on_request_head(StreamId stream, const RequestHead& head, std::uint64_t pos) override {
    begin(stream, '>',
          head.method + " " + head.target + " " + head.authority + at(pos) +
              (head.protocol.empty() ? "" : " protocol " + head.protocol) + (head.guessed ? " guessed" : "") +
              fields(head.fields));
  }
  void on_request_body(StreamId stream, std::span<const std::uint8_t> bytes, std::uint64_t pos) override {
    piece(stream, '>', "body", bytes, pos);
  }
  void on_request_end(StreamId stream, const Fields& trailers, std::uint64_t end_pos) override {
    begin(stream, '>', "end" + at(end_pos) + fields(trailers));
  }
  void on_response_head(StreamId stream, const ResponseHead& head, std::uint64_t) override {
    begin(stream, '<', std::to_string(head.status) + (head.guessed ? " guessed" : "") + fields(head.fields));
  }
  void on_response_body(StreamId stream, std::span<const std::uint8_t> bytes, std::uint64_t pos) override {
    piece(stream, '<', "body", bytes, pos);
  }
  void on_response_end(StreamId stream, const Fields& trailers, End end) override {
    static constexpr const char* kEnds[] = {"complete", "truncated", "reset"};
    begin(stream, '<', std::string("end ") + kEnds[static_cast<int>(end)] + fields(trailers));
  }
  void on_loss(StreamId stream, Direction direction, std::uint64_t bytes) override {
    begin(stream, arrow(direction), "loss " + std::to_string(bytes));
  }
  void on_interim(StreamId stream, const ResponseHead& head) override {
    begin(stream, '<', "interim " + std::to_string(head.status));
  }
  void on_tunnel_begin(StreamId stream, const ResponseHead&) override { line(std::to_string(stream) + " tunnel"); }
  void on_tunnel(StreamId stream, Direction direction, std::span<const std::uint8_t> bytes,
                 std::uint64_t pos) override {
    piece(stream, arrow(direction), "tunnel", bytes, pos);
  }
  void on_invalid(Direction direction, std::string_view why) override {
    line(std::string(1, arrow(direction)) + " invalid: " + std::string(why));
  }
  std::string log() const { return out_ + (out_.empty() || out_.back() == '\n' ? "" : "\n"); }

 private:
  static char arrow(Direction direction) { return direction == Direction::kToServer ? '>' : '<'; }
  static std::string at(std::uint64_t pos) { return " @" + std::to_string(pos); }
  static std::string fields(const Fields& fields) {
    std::string out;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      out += " | " + std::string(fields[i].name) + ": " + std::string(fields[i].value);
    }
    return out;
  }
  void line(const std::string& text) {
    if (!out_.empty() && out_.back() != '\n') out_ += '\n';
    out_ += text + '\n';
    open_.clear();
  }
  void begin(StreamId stream, char arrow, const std::string& text) {
    line(std::to_string(stream) + " " + arrow + " " + text);
  }
  void piece(StreamId stream, char arrow, const char* what, std::span<const std::uint8_t> bytes, std::uint64_t pos) {
    const std::string start = std::to_string(stream) + " " + arrow + " " + what;
    if (open_ != start) {
      line(start + at(pos));
      out_.back() = ' ';
      open_ = start;
    }
    out_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  std::string out_;
  std::string open_;  // the body line that is being written
};

// Feeds one direction of a connection from its beginning.
template <class Connection>
void feed_pieces(Connection& connection, Direction direction, const wire::testing::Pieces& pieces) {
  std::uint64_t pos = 0;
  for (const std::string_view piece : pieces) {
    connection.feed(direction, pos, wire::testing::bytes(piece));
    pos += piece.size();
  }
}

}  // namespace penstock::parsers::wire::http
