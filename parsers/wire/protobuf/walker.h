// Walks the fields of a protobuf message in pieces and without its schema: the sink says of each length-delimited field
// whether it is a message to enter, bytes to look at, or nothing of interest. No message is ever held.
//
//   message = *( tag value )      tag = varint( number << 3 | wire type )
//   value   = varint | 8 bytes | length bytes | 4 bytes          (groups are refused)
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "parsers/core/parse_state.h"

namespace penstock::parsers::wire::protobuf {

inline constexpr std::size_t kDepth = 16;

// Field numbers from the outermost message inwards, the field itself last.
using Path = std::span<const std::uint32_t>;

inline bool is(Path path, std::initializer_list<std::uint32_t> fields) {
  return std::equal(path.begin(), path.end(), fields.begin(), fields.end());
}

// Joins the pieces of a field that is short unless it is hostile: what is beyond 512 bytes is cut.
inline void append_short(std::string& into, std::string_view piece) {
  constexpr std::size_t kMost = 512;
  into.append(piece.substr(0, kMost - std::min(kMost, into.size())));
}

enum class Treat : std::uint8_t { kSkip, kEnter, kBytes };

class Sink {
 public:
  virtual ~Sink() = default;
  // A length-delimited field begins. kEnter beyond kDepth levels is kSkip.
  virtual Treat on_length(Path path, std::uint64_t length) = 0;
  virtual void on_varint(Path path, std::uint64_t value) = 0;
  virtual void on_fixed(Path path, std::uint64_t bits, bool is64) { (void)path, (void)bits, (void)is64; }
  // Content of a field treated as kBytes, in pieces; `last` with the final one, which may be empty.
  virtual void on_bytes(Path path, std::string_view piece, bool last) { (void)path, (void)piece, (void)last; }
  // An entered message has ended.
  virtual void on_end(Path path) { (void)path; }
};

class Walker {
 public:
  explicit Walker(Sink& sink) : sink_(sink) {}
  // After kInvalid nothing more is delivered.
  ParseState feed(std::string_view bytes);
  // The message has ended. kDone: with a field; kNeedMore: inside one.
  ParseState finish();
  void reset();

 private:
  enum class State : std::uint8_t { kTag, kVarint, kLength, kFixed, kBytes, kSkip, kInvalid };

  // Adds a byte; true when the number is complete. More than 64 bits: kInvalid.
  bool varint(std::uint8_t byte);
  void fail() { state_ = State::kInvalid; }
  void end_value();
  void begin_length();
  Path path() const { return {path_.data(), depth_ + 1}; }
  std::uint64_t left() const { return depth_ == 0 ? ~0ull : ends_[depth_ - 1] - offset_; }

  Sink& sink_;
  State state_ = State::kTag;
  std::uint64_t offset_ = 0;
  std::uint64_t number_ = 0;
  std::uint32_t shift_ = 0;
  std::uint32_t fixed_ = 0;  // bytes of a fixed value to come
  std::uint32_t fixed_size_ = 0;
  std::uint64_t remaining_ = 0;
  std::size_t depth_ = 0;
  std::array<std::uint32_t, kDepth + 1> path_{};
  std::array<std::uint64_t, kDepth> ends_{};  // of the entered messages
};

// A message that comes in pieces, and perhaps another one behind it. `Fields` is a Sink with clear().
template <class Fields>
class Message {
 public:
  template <class... Arguments>
  explicit Message(Arguments... arguments) : fields_(arguments...), walker_(fields_) {}
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  // True with the last piece of a message that is whole.
  bool feed(std::string_view piece, bool last) {
    if (ended_) {
      fields_.clear();
      walker_.reset();
    }
    walker_.feed(piece);
    ended_ = last;
    return last && walker_.finish() == ParseState::kDone;
  }
  const Fields& fields() const { return fields_; }

 private:
  Fields fields_;
  Walker walker_;
  bool ended_ = false;
};

}  // namespace penstock::parsers::wire::protobuf
