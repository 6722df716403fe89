// An incremental JSON scanner: pieces of text in, events out. It keeps no text except a key or number that is cut by
// the end of a piece. Strings are delivered decoded and in pieces; a handler that has seen enough of a string says so,
// and the rest is skipped at memory speed while its decoded length is still counted.
//
// Two dialects:
//   strict  RFC 8259 and nothing else (JSONTestSuite); invalid UTF-8 is passed through.
//   stream  what programs send: control characters in strings, unknown escapes, NaN and Infinity are tolerated, so that
//   one
//           odd byte in a prompt does not hide the usage behind it.
// In both, a document that ends early has delivered everything before the cut; a number that touches the cut has not
// been delivered, since its next digit is unknown.
//
//   state            | byte                | event, next state
//   -----------------+---------------------+-----------------------------------------------
//   value            | { [ " digit letter  | *_begin / string / number / literal
//   first key, key   | "  (or } if first)  | key, colon
//   colon            | :                   | value
//   after value      | , } ]               | key or value, *_end
//   done             | white space         | (multi: any value starts the next document)
//
// Handler (static interface; offsets count from the first byte fed since construction or reset()):
//   void object_begin(uint64 at); void object_end(uint64 end);
//   void array_begin(uint64 at);  void array_end(uint64 end);
//   void key(std::string_view);
//   void string_begin(uint64 at);
//   bool string_piece(std::string_view);   false: no more bytes of this string are wanted
//   void string_end(uint64 end, uint64 decoded_bytes);
//   void number(uint64 at, std::string_view text, bool complete_text);
//   void literal(uint64 at, Literal);
//   void root_end(uint64 end);              after each complete top-level value
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "parsers/core/limits.h"
#include "parsers/core/parse_state.h"
#include "parsers/wire/json/text.h"

// One token is a few nanoseconds: a call per token would be a third of it.
#define PN_JSON_INLINE inline __attribute__((always_inline))

namespace penstock::parsers::wire::json {

enum class Literal : std::uint8_t { kNull, kTrue, kFalse };

struct Dialect {
  bool strict = false;  // RFC 8259 only
  bool multi = false;   // any number of top-level values (NDJSON, concatenated documents)
};

template <class Handler>
class Scanner {
 public:
  Scanner(Handler& handler, Dialect dialect) : handler_(handler), dialect_(dialect) {}

  // Consumes all of `bytes`. kDone: the single document is complete. After kInvalid nothing more is delivered.
  ParseState feed(std::string_view bytes) {
    const char* p = bytes.data();
    const char* const begin = p;
    const char* const end = p + bytes.size();
    while (p < end) p = step(p, end, begin);
    offset_ += bytes.size();
    if (in_string() && !is_key_) handler_.string_progress(decoded_);
    return result();
  }

  // The input has ended: a top-level number is complete now.
  ParseState finish() {
    if (state_ == State::kNumber && depth_ == 0) end_number(number_, number_size_, offset_);
    if (state_ == State::kDone || state_ == State::kError) return result();
    if (dialect_.multi && depth_ == 0 && state_ == State::kValue) return ParseState::kDone;
    return dialect_.strict ? ParseState::kInvalid : ParseState::kNeedMore;
  }

  void reset() {
    state_ = State::kValue;
    depth_ = 0;
    offset_ = 0;
    error_ = ParseState::kNeedMore;
  }

  // Starts over after kInvalid at the current offset (NDJSON: at the next line).
  void restart() {
    state_ = State::kValue;
    depth_ = 0;
    error_ = ParseState::kNeedMore;
  }

  ParseState result() const {
    if (state_ == State::kError) return error_;
    return state_ == State::kDone ? ParseState::kDone : ParseState::kNeedMore;
  }
  bool in_string() const { return state_ == State::kString || state_ == State::kEscape || state_ == State::kUnicode; }
  std::size_t depth() const { return depth_; }
  std::uint64_t offset() const { return offset_; }

 private:
  enum class State : std::uint8_t {
    kValue,
    kFirstValue,
    kFirstKey,
    kKey,
    kColon,
    kAfterValue,
    kString,
    kEscape,
    kUnicode,
    kNumber,
    kLiteral,
    kDone,
    kError,
  };

  static bool space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
  bool blank(char c) const { return space(c) || (!dialect_.strict && static_cast<unsigned char>(c) < 0x20); }
  static bool number_start(char c) { return c == '-' || (c >= '0' && c <= '9'); }
  bool number_part(char c) const {
    if ((c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E') return true;
    return !dialect_.strict && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
  }

  // A byte order mark; between the values of a sequence also what is left of an array whose beginning was not seen.
  bool ignorable_before_root(char c) const {
    if (c == '\xef' || c == '\xbb' || c == '\xbf') return true;
    return dialect_.multi && (c == ',' || c == ']');
  }

  const char* fail(const char* end, ParseState why = ParseState::kInvalid) {
    // What came of an open string counts, wherever the pieces ended.
    if (in_string() && !is_key_) handler_.string_progress(decoded_);
    state_ = State::kError;
    error_ = why;
    return end;
  }

  std::uint64_t at(const char* p, const char* begin) const { return offset_ + static_cast<std::uint64_t>(p - begin); }

  bool in_object() const { return ((kinds_[(depth_ - 1) / 64] >> ((depth_ - 1) % 64)) & 1) != 0; }

  bool push(bool object) {
    if (depth_ == limits::kJsonDepth) return false;
    const std::uint64_t bit = 1ull << (depth_ % 64);
    std::uint64_t& word = kinds_[depth_ / 64];
    word = object ? (word | bit) : (word & ~bit);
    ++depth_;
    return true;
  }

  // The comma that usually follows a value at once.
  const char* comma(const char* p, const char* end) {
    if (p == end || *p != ',' || state_ != State::kAfterValue) return p;
    state_ = in_object() ? State::kKey : State::kValue;
    return p + 1;
  }

  void after_value(std::uint64_t end) {
    if (depth_ != 0) {
      state_ = State::kAfterValue;
      return;
    }
    state_ = dialect_.multi ? State::kValue : State::kDone;
    handler_.root_end(end);
  }

  PN_JSON_INLINE const char* step(const char* p, const char* end, const char* begin) {
    switch (state_) {
      case State::kValue:
      case State::kFirstValue: {
        while (blank(*p)) {
          if (++p == end) return p;
        }
        return value(p, end, begin);
      }
      case State::kFirstKey:
      case State::kKey: {
        while (blank(*p)) {
          if (++p == end) return p;
        }
        if (*p == '"') {
          ++p;
          const char* q = find_special(p, end, dialect_.strict);
          if (q != end && *q == '"') {  // the common key: whole, without escapes
            handler_.key(std::string_view(p, std::min(static_cast<std::size_t>(q - p), limits::kJsonKeyBytes)));
            ++q;
            if (q != end && *q == ':') {
              state_ = State::kValue;
              return q + 1;
            }
            state_ = State::kColon;
            return q;
          }
          begin_string(true);
          return p;
        }
        if (*p == '}' && state_ == State::kFirstKey) return close(p, true, begin, end);
        return fail(end);
      }
      case State::kColon:
        while (blank(*p)) {
          if (++p == end) return p;
        }
        if (*p != ':') return fail(end);
        state_ = State::kValue;
        return p + 1;
      case State::kAfterValue:
        while (blank(*p)) {
          if (++p == end) return p;
        }
        if (*p == ',') {
          state_ = in_object() ? State::kKey : State::kValue;
          // A comma is followed by a value in strict JSON; [1,] fails there because ']' is no value.
          return p + 1;
        }
        if (*p == '}' || *p == ']') return close(p, *p == '}', begin, end);
        return fail(end);
      case State::kString:
        return string(p, end, begin);
      case State::kEscape:
        return escape(p, end);
      case State::kUnicode:
        return unicode(p, end);
      case State::kNumber:
        return number(p, end, begin);
      case State::kLiteral:
        return literal(p, end, begin);
      case State::kDone:
        while (p != end && space(*p)) ++p;
        // The single document is complete: strict JSON allows nothing behind it, a stream ignores it.
        if (p != end && dialect_.strict) return fail(end);
        return end;
      case State::kError:
        return end;
    }
    return end;
  }

  PN_JSON_INLINE const char* value(const char* p, const char* end, const char* begin) {
    const char c = *p;
    if (c == '"') {
      handler_.string_begin(at(p, begin));
      begin_string(false);
      ++p;
      const char* const limit = end - p > 256 ? p + 256 : end;
      const char* q = find_special(p, limit, dialect_.strict);
      if (q != limit && *q == '"') {  // the common string: whole, short, without escapes
        if (q != p) handler_.string_piece(std::string_view(p, static_cast<std::size_t>(q - p)));
        handler_.string_end(at(q + 1, begin), static_cast<std::uint64_t>(q - p));
        after_value(at(q + 1, begin));
        return comma(q + 1, end);
      }
      return p;
    }
    if (c == '{' || c == '[') {
      if (!push(c == '{')) return fail(end, ParseState::kLimit);
      if (c == '{') {
        handler_.object_begin(at(p, begin));
        state_ = State::kFirstKey;
      } else {
        handler_.array_begin(at(p, begin));
        state_ = State::kFirstValue;
      }
      return p + 1;
    }
    if (c == ']' && state_ == State::kFirstValue) return close(p, false, begin, end);
    if (depth_ == 0 && !dialect_.strict && ignorable_before_root(c)) return p + 1;
    if (c == 't' || c == 'f' || c == 'n') {
      literal_ = c == 't' ? Literal::kTrue : c == 'f' ? Literal::kFalse : Literal::kNull;
      matched_ = 0;
      token_at_ = at(p, begin);
      state_ = State::kLiteral;
      return literal(p, end, begin);
    }
    if (number_start(c) || (!dialect_.strict && (c == 'N' || c == 'I' || c == '+' || c == '.'))) {
      token_at_ = at(p, begin);
      number_size_ = 0;
      grammar_ = NumberGrammar();
      state_ = State::kNumber;
      return number(p, end, begin);
    }
    return fail(end);
  }

  const char* close(const char* p, bool object, const char* begin, const char* end) {
    if (in_object() != object) return fail(end);
    --depth_;
    const std::uint64_t after = at(p + 1, begin);
    if (object) {
      handler_.object_end(after);
    } else {
      handler_.array_end(after);
    }
    after_value(after);
    return comma(p + 1, end);
  }

  void begin_string(bool key) {
    state_ = State::kString;
    is_key_ = key;
    wanted_ = true;
    decoded_ = 0;
    key_size_ = 0;
    high_surrogate_ = 0;
  }

  void emit(std::string_view piece) {
    decoded_ += piece.size();
    if (is_key_) {
      const std::size_t take = std::min(piece.size(), key_.size() - key_size_);
      std::memcpy(key_.data() + key_size_, piece.data(), take);
      key_size_ += take;
      return;
    }
    if (wanted_) wanted_ = handler_.string_piece(piece);
  }

  void emit_code_point(std::uint32_t code) {
    char utf8[4];
    emit(std::string_view(utf8, encode_utf8(code, utf8)));
  }

  // A high surrogate that no low surrogate followed.
  void flush_surrogate() {
    if (high_surrogate_ == 0) return;
    high_surrogate_ = 0;
    emit_code_point(0xfffd);
  }

  const char* string(const char* p, const char* end, const char* begin) {
    while (p != end) {
      if (!wanted_ && !is_key_ && !dialect_.strict && high_surrogate_ == 0) {
        const Skipped skipped = skip_string(p, end);
        decoded_ += skipped.decoded;
        p = skipped.next;
        if (p == end) return p;
      }
      const char* q = find_special(p, end, dialect_.strict);
      if (q != p) {
        flush_surrogate();
        emit(std::string_view(p, static_cast<std::size_t>(q - p)));
        p = q;
        if (p == end) return p;
      }
      if (*p == '"') return end_string(p + 1, begin);
      if (*p == '\\') {
        state_ = State::kEscape;
        return p + 1;
      }
      return fail(end);  // strict: an unescaped control character
    }
    return p;
  }

  const char* end_string(const char* p, const char* begin) {
    flush_surrogate();
    if (is_key_) {
      handler_.key(std::string_view(key_.data(), key_size_));
      state_ = State::kColon;
      return p;
    }
    handler_.string_end(at(p, begin), decoded_);
    after_value(at(p, begin));
    return p;
  }

  const char* escape(const char* p, const char* end) {
    const char c = *p;
    if (c == 'u') {
      unicode_ = 0;
      matched_ = 0;
      state_ = State::kUnicode;
      return p + 1;
    }
    flush_surrogate();
    const char plain = unescape(c);
    if (plain == 0 && dialect_.strict) return fail(end);
    const char out = plain == 0 ? c : plain;  // tolerated: \x stands for x
    emit(std::string_view(&out, 1));
    state_ = State::kString;
    return p + 1;
  }

  const char* unicode(const char* p, const char* end) {
    while (p != end) {
      const int digit = hex_digit(*p);
      if (digit < 0) {
        if (dialect_.strict) return fail(end);
        flush_surrogate();
        emit_code_point(0xfffd);
        state_ = State::kString;
        return p;
      }
      unicode_ = (unicode_ << 4) | static_cast<std::uint32_t>(digit);
      ++p;
      if (++matched_ < 4) continue;
      state_ = State::kString;
      if (unicode_ >= 0xdc00 && unicode_ <= 0xdfff && high_surrogate_ != 0) {
        const std::uint32_t code = 0x10000 + ((high_surrogate_ - 0xd800) << 10) + (unicode_ - 0xdc00);
        high_surrogate_ = 0;
        emit_code_point(code);
        return p;
      }
      flush_surrogate();
      if (unicode_ >= 0xd800 && unicode_ <= 0xdbff) {
        high_surrogate_ = unicode_;
      } else {
        emit_code_point(unicode_ >= 0xdc00 && unicode_ <= 0xdfff ? 0xfffd : unicode_);
      }
      return p;
    }
    return p;
  }

  const char* number(const char* p, const char* end, const char* begin) {
    const char* q = p;
    while (q != end && number_part(*q)) ++q;
    if (dialect_.strict) {
      for (const char* c = p; c != q; ++c) grammar_.add(*c);
    }
    if (q != end && number_size_ == 0) {
      end_number(p, static_cast<std::size_t>(q - p), at(q, begin));
      return comma(q, end);
    }
    const std::size_t room = sizeof number_ - std::min(number_size_, sizeof number_);
    std::memcpy(number_ + std::min(number_size_, sizeof number_), p, std::min(room, static_cast<std::size_t>(q - p)));
    number_size_ += static_cast<std::size_t>(q - p);
    if (q != end) end_number(number_, number_size_, at(q, begin));
    return q;
  }

  void end_number(const char* text, std::size_t size, std::uint64_t end) {
    if (dialect_.strict && !grammar_.valid()) {
      fail(nullptr);
      return;
    }
    handler_.number(token_at_, std::string_view(text, std::min(size, sizeof number_)), size <= sizeof number_);
    after_value(end);
  }

  const char* literal(const char* p, const char* end, const char* begin) {
    static constexpr std::string_view kTexts[] = {"null", "true", "false"};
    const std::string_view text = kTexts[static_cast<std::size_t>(literal_)];
    while (p != end && matched_ < text.size()) {
      if (*p != text[matched_]) return fail(end);
      ++p;
      ++matched_;
    }
    if (matched_ == text.size()) {
      handler_.literal(token_at_, literal_);
      after_value(at(p, begin));
      return comma(p, end);
    }
    return p;
  }

  Handler& handler_;
  Dialect dialect_;
  State state_ = State::kValue;
  ParseState error_ = ParseState::kNeedMore;
  bool is_key_ = false;
  bool wanted_ = true;
  Literal literal_ = Literal::kNull;
  std::uint32_t matched_ = 0;  // characters of a literal or digits of \uXXXX
  std::uint32_t unicode_ = 0;
  std::uint32_t high_surrogate_ = 0;  // waits for its low half; 0: none
  std::size_t depth_ = 0;
  std::uint64_t offset_ = 0;
  std::uint64_t token_at_ = 0;
  std::uint64_t decoded_ = 0;
  std::size_t key_size_ = 0;
  std::size_t number_size_ = 0;
  NumberGrammar grammar_;
  std::array<std::uint64_t, limits::kJsonDepth / 64> kinds_{};  // one bit per level: 1 object, 0 array
  char number_[limits::kJsonNumberBytes];
  std::array<char, limits::kJsonKeyBytes> key_;
};

}  // namespace penstock::parsers::wire::json

#undef PN_JSON_INLINE
