// Server-sent events (WHATWG HTML §9.2): BOM, lines ending in CR, LF or CRLF wherever they are cut, several data lines,
// comments. The data of an event is handed on in pieces as it arrives, so that it can feed the JSON reader without
// being gathered: a line may be hundreds of megabytes. Other fields are kept up to a bound. Two deviations, both
// because an observer must not lose what was sent: an event without its final empty line is delivered by finish(), and
// an event that has fields but no data is delivered too (has_data is false).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "parsers/core/limits.h"

namespace penstock::parsers::wire::sse {

struct Event {
  std::string_view type;       // of the last `event` field; empty: "message"
  std::string_view id;         // the last `id` of the stream so far
  std::string_view data_head;  // first bytes of the data (at most 32): tells "[DONE]" from JSON
  std::uint64_t data_bytes = 0;
  bool has_data = false;
  bool terminated = true;  // false: the stream ended before the empty line
};

class Sink {
 public:
  virtual ~Sink() = default;
  // A piece of the current event's data; lines are joined by "\n" as the standard says.
  virtual void on_data(std::string_view piece) = 0;
  // Any other field, at the end of its line: event, id, retry and what is not in the standard (llama.cpp's `error`).
  // `whole` is false when the value was cut at the bound.
  virtual void on_field(std::string_view name, std::string_view value, bool whole) = 0;
  // The current event ends.
  virtual void on_event(const Event& event) = 0;
};

class Parser {
 public:
  explicit Parser(Sink& sink) : sink_(sink) {}
  void feed(std::string_view bytes);
  void finish();
  // Bytes were lost: the current event is given up, and everything up to the next empty line.
  void gap();
  std::uint64_t comments() const { return comments_; }

 private:
  enum class State : std::uint8_t { kBom, kLineStart, kName, kSpace, kData, kValue, kComment, kSkipEvent };

  const char* step(const char* p, const char* end);
  void end_line();
  void end_name();
  void begin_data();
  void data(std::string_view piece);
  void end_event(bool terminated);
  void reset_event();

  Sink& sink_;
  State state_ = State::kBom;
  std::uint8_t bom_ = 0;     // bytes of the byte order mark seen
  bool after_cr_ = false;    // a LF now belongs to the CR before it
  bool line_empty_ = false;  // kSkipEvent: nothing on this line yet
  bool value_cut_ = false;
  bool any_field_ = false;
  bool has_data_ = false;
  bool is_data_ = false;  // the field of this line
  std::uint8_t head_size_ = 0;
  char head_[32];
  std::uint64_t data_bytes_ = 0;
  std::uint64_t comments_ = 0;
  std::string name_;
  std::string value_;
  std::string type_;
  std::string id_;
};

// Whether a body that is (or is not) labelled text/event-stream begins like one.
bool looks_like_events(std::string_view beginning);

}  // namespace penstock::parsers::wire::sse
