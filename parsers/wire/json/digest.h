// A digest of a JSON document: everything that is small, and the sizes of everything that is not. It is built from
// pieces as they arrive and can be read at any time, so a document that was cut still shows what came before the cut.
//
//   json::Digest doc;
//   doc.feed(piece); … doc.finish();
//   std::optional<uint64_t> in = doc["usage"]["input_tokens"].as_uint();
//   for (json::Value call : doc["choices"].items()) …
//
// Long strings keep their first bytes and their decoded length. Numbers stay text until asked for. The number of nodes
// and the bytes of kept text are bounded: when a bound is reached the oldest elements of the largest array go (an
// agent's conversation keeps its newest messages) and are counted; if there is none, what follows is counted only.
// Sizes (text_bytes, blob_bytes, raw_bytes) include everything, kept or not. clear() keeps the memory: no allocation
// per server-sent event. Not thread-safe. Values are views into the digest: they die with the next feed() or clear().
// Text is as it was sent and may hold any byte, invalid UTF-8 included.
#pragma once

#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/wire/json/scanner.h"

namespace penstock::parsers::wire::json {

class Digest;
class Value;

enum class Type : std::uint8_t { kAbsent, kNull, kBool, kNumber, kString, kArray, kObject };

// Receives strings in full, whatever the digest keeps of them: JSON inside a string, base64 frames, text to be
// measured.
class StringSink {
 public:
  virtual ~StringSink() = default;
  // Decoded text of the string value of `key` (for array elements: the key of the array). `last`: the string ended with
  // this piece, which may be empty.
  virtual void on_string(std::string_view key, std::string_view piece, bool last) = 0;
};

// Receives the values of a sequence, each when it has ended.
class ValueSink {
 public:
  virtual ~ValueSink() = default;
  virtual void on_value(const Value& value) = 0;
};

struct DigestOptions {
  bool strict = false;
  std::size_t string_bytes = 512;       // kept of one string; the length is always known
  std::size_t nodes = 16 * 1024;        // 64 bytes each
  std::size_t text_bytes = 256 * 1024;  // kept text of all strings, keys and numbers together
  // Delivered in full to `tap`: string values under one of these keys. Both must outlive the digest.
  const std::string_view* tap_keys = nullptr;
  std::size_t tap_key_count = 0;
  StringSink* tap = nullptr;
};

namespace detail {

struct Node {
  std::uint32_t end = 0;     // one past the last node of the subtree; 0 while it is open
  std::uint32_t key_at = 0;  // offset into the text
  std::uint32_t text_at = 0;
  std::uint32_t text_size = 0;
  std::uint32_t children = 0;  // kept
  std::uint32_t dropped = 0;   // not kept
  std::uint16_t key_size = 0;
  Type type = Type::kAbsent;
  bool truth : 1 = false;
  bool complete : 1 = false;
  bool blob : 1 = false;
  std::uint32_t keys = 0;   // object: key_bit() of each member that was kept, and perhaps of some that went since
  std::uint64_t begin = 0;  // offset of the first byte in the document
  std::uint64_t raw_size = 0;
  std::uint64_t bytes = 0;  // string: decoded length; container: text in it
  std::uint64_t blobs = 0;  // container: blob bytes in it
};
static_assert(sizeof(Node) == 64);

// Most members that decoders ask for are not there: their absence shows without a look at those that are.
inline std::uint32_t key_bit(std::string_view key) {
  if (key.empty()) return 1;
  const auto first = static_cast<unsigned char>(key.front()), last = static_cast<unsigned char>(key.back());
  return std::uint32_t{1} << ((key.size() + 5U * first + 3U * last) % 32);
}

}  // namespace detail

// A view of one value, or of its absence: every accessor works on an absent value and yields "absent" again.
class Value {
 public:
  Value() = default;

  bool exists() const { return node_ != nullptr; }
  explicit operator bool() const { return exists(); }
  Type type() const { return node_ == nullptr ? Type::kAbsent : node_->type; }
  bool is_null() const { return type() == Type::kNull; }
  bool is_object() const { return type() == Type::kObject; }
  bool is_array() const { return type() == Type::kArray; }
  bool is_string() const { return type() == Type::kString; }
  bool is_number() const { return type() == Type::kNumber; }
  // Present and not null.
  bool has_value() const { return exists() && !is_null(); }

  // Member of an object; with duplicate keys the last one. Absent for anything else.
  inline Value operator[](std::string_view key) const;
  // Element of an array by its position in the document; absent when it was dropped or never came.
  Value at(std::size_t index) const;

  // Numbers: see text.h for what converts. as_count also takes a decimal number inside a string.
  inline std::optional<std::uint64_t> as_uint() const;
  inline std::optional<std::int64_t> as_int() const;
  std::optional<double> as_double() const;
  inline std::optional<std::uint64_t> as_count() const;
  std::optional<bool> as_bool() const;
  // The kept part of a string; nullopt for other types. `string_or` for comparisons.
  inline std::optional<std::string_view> as_string() const;
  std::string_view string_or(std::string_view fallback) const { return as_string().value_or(fallback); }
  std::string_view number_text() const { return is_number() ? text() : std::string_view(); }

  inline std::string_view key() const;  // in an object; empty elsewhere
  // False while the value (string, container) has not ended.
  bool complete() const { return node_ != nullptr && node_->complete; }
  // String: decoded length so far. Container: the sum over all string values in it that are no blobs.
  std::uint64_t text_bytes() const;
  // Strings that are data: URLs or base64; for containers the sum.
  std::uint64_t blob_bytes() const;
  // Bytes from the first to the last of the value in the document, as far as seen.
  std::uint64_t raw_bytes() const;
  bool elided() const { return is_string() && text().size() < node_->bytes; }
  // Children in the document, and how many of them (the first ones of an array) are not kept.
  std::size_t size() const { return node_ == nullptr ? 0 : node_->children + node_->dropped; }
  std::size_t dropped() const { return node_ == nullptr ? 0 : node_->dropped; }

  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = Value;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = Value;
    Iterator() = default;
    inline Value operator*() const;
    inline Iterator& operator++();
    Iterator operator++(int) {
      Iterator old = *this;
      ++*this;
      return old;
    }
    bool operator==(const Iterator& other) const { return index_ == other.index_; }

   private:
    friend class Value;
    Iterator(const Digest* digest, std::uint32_t index) : digest_(digest), index_(index) {}
    const Digest* digest_ = nullptr;
    std::uint32_t index_ = 0;
  };
  struct Range {
    Iterator first, last;
    Iterator begin() const { return first; }
    Iterator end() const { return last; }
  };
  // The kept children: of an array, or the members of an object (each knows its key()).
  Range items() const { return children(is_array()); }
  Range members() const { return children(is_object()); }

 private:
  friend class Digest;
  Value(const Digest* digest, const detail::Node* node) : digest_(digest), node_(node) {}
  inline Range children(bool wanted) const;
  inline std::string_view text() const;
  inline std::string_view kept(std::uint32_t at, std::uint32_t size) const;
  inline std::uint32_t index() const;
  const Digest* digest_ = nullptr;
  const detail::Node* node_ = nullptr;
};

namespace detail {

// The scanner's handler: builds nodes in document order, so that a subtree is a range.
class Builder {
 public:
  explicit Builder(const DigestOptions& options) : options_(options) {}

  void object_begin(std::uint64_t at) { open(Type::kObject, at); }
  void object_end(std::uint64_t end) { close(end); }
  void array_begin(std::uint64_t at) { open(Type::kArray, at); }
  void array_end(std::uint64_t end) { close(end); }
  void key(std::string_view key);
  void string_begin(std::uint64_t at);
  bool string_piece(std::string_view piece);
  void string_progress(std::uint64_t decoded) {
    if (current_ != kMuted) nodes_[current_].bytes = decoded;
  }
  void string_end(std::uint64_t end, std::uint64_t decoded);
  void number(std::uint64_t at, std::string_view text, bool whole);
  void literal(std::uint64_t at, Literal literal);
  void root_end(std::uint64_t end);

  void clear();
  void release();
  // Completes the totals of containers that are still open, for reading a document that was cut.
  std::uint64_t open_total(std::uint32_t index, bool blobs) const;

  DigestOptions options_;
  std::vector<Node> nodes_;
  std::string text_;
  // Splitting a sequence: set by Values.
  ValueSink* sink_ = nullptr;
  const Digest* owner_ = nullptr;
  bool split_root_array_ = false;
  std::uint64_t seen_ = 0;  // offset of the last byte fed, for raw_bytes of open values

 private:
  static constexpr std::uint32_t kMuted = ~0u;
  struct Frame {
    std::uint32_t node;  // kMuted: not kept
    std::uint64_t text = 0;
    std::uint64_t blobs = 0;
  };

  void begin();
  void open(Type type, std::uint64_t at);
  void close(std::uint64_t end);
  // Adds a node below the open container; kMuted when there is no room or its container is not kept.
  std::uint32_t add(Type type, std::uint64_t at);
  std::uint32_t keep_text(std::string_view text);
  bool make_room();
  bool element_level() const { return split_root_array_ && root_is_array_ && frames_.size() == 1; }
  void deliver();
  bool tapped(std::string_view key) const;
  std::string_view pending_key() const { return std::string_view(text_).substr(key_at_, key_size_); }
  void drop_key();

  std::vector<Frame> frames_;
  std::uint32_t current_ = kMuted;  // node of the open string
  bool root_is_array_ = false;
  bool tapping_ = false;
  bool muted_ = false;  // a bound was reached and nothing can be dropped
  std::uint64_t string_at_ = 0;
  std::size_t head_size_ = 0;
  char head_[64];  // first bytes of the open string, to tell blobs from text
  // The key whose value comes next: the last bytes of the text.
  bool has_key_ = false;
  std::uint32_t key_at_ = 0;
  std::uint16_t key_size_ = 0;
  std::string tap_key_;
};

}  // namespace detail

// One document. Bytes behind it are ignored (strict: invalid).
class Digest {
 public:
  explicit Digest(DigestOptions options = {})
      : builder_(options), scanner_(builder_, Dialect{.strict = options.strict}) {}
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  ParseState feed(std::string_view bytes);
  // The document has ended. kDone: it was whole.
  ParseState finish();
  ParseState state() const { return scanner_.result(); }

  Value root() const { return value(0); }
  Value operator[](std::string_view key) const { return root()[key]; }

  void clear() {
    scanner_.reset();
    builder_.clear();
  }
  // Also gives the memory back: for connections that have gone idle.
  void release() {
    scanner_.reset();
    builder_.release();
  }

 private:
  friend class Value;
  friend class Values;
  Digest(DigestOptions options, Dialect dialect) : builder_(options), scanner_(builder_, dialect) {}
  Value value(std::uint32_t index) const {
    return index < builder_.nodes_.size() ? Value(this, &builder_.nodes_[index]) : Value();
  }
  // One past the subtree of a node: the index of its next sibling, or the end of its container.
  std::uint32_t end_of(const detail::Node& node) const {
    return node.end == 0 ? static_cast<std::uint32_t>(builder_.nodes_.size()) : node.end;
  }
  detail::Builder builder_;
  Scanner<detail::Builder> scanner_;
};

// Navigation is most of what decoders do: inline.

std::uint32_t Value::index() const { return static_cast<std::uint32_t>(node_ - digest_->builder_.nodes_.data()); }

std::string_view Value::kept(std::uint32_t at, std::uint32_t size) const {
  return {digest_->builder_.text_.data() + at, size};
}

std::string_view Value::text() const { return kept(node_->text_at, node_->text_size); }

std::string_view Value::key() const {
  return node_ == nullptr ? std::string_view() : kept(node_->key_at, node_->key_size);
}

std::optional<std::uint64_t> Value::as_uint() const {
  return is_number() && complete() ? to_uint(text()) : std::nullopt;
}

std::optional<std::int64_t> Value::as_int() const { return is_number() && complete() ? to_int(text()) : std::nullopt; }

std::optional<std::uint64_t> Value::as_count() const {
  return is_string() && complete() && !elided() ? to_uint(text()) : as_uint();
}

std::optional<std::string_view> Value::as_string() const {
  if (!is_string()) return std::nullopt;
  return text();
}

Value::Range Value::children(bool wanted) const {
  if (!wanted) return {};
  return {Iterator(digest_, index() + 1), Iterator(digest_, digest_->end_of(*node_))};
}

Value Value::Iterator::operator*() const { return digest_->value(index_); }

Value::Iterator& Value::Iterator::operator++() {
  index_ = digest_->end_of(digest_->builder_.nodes_[index_]);
  return *this;
}

Value Value::operator[](std::string_view key) const {
  Value found;
  if (!is_object() || (node_->keys & detail::key_bit(key)) == 0) return found;
  for (const Value member : members())
    if (member.key() == key) found = member;
  return found;
}

// A sequence of documents: NDJSON, concatenated values, or (kElements) also the elements of a top-level array that is
// written as time goes by. Each value is delivered when it has ended and is gone afterwards.
class Values {
 public:
  enum class Split : std::uint8_t { kDocuments, kElements };
  Values(DigestOptions options, Split split, ValueSink& sink);

  // With `resync` a broken line costs that line only: scanning goes on behind the next line feed (NDJSON).
  void feed(std::string_view bytes, bool resync = true);
  // The input has ended: a value that was cut is delivered as far as it came (complete() is false).
  void finish();
  std::uint64_t invalid_lines() const { return invalid_; }
  void clear();

 private:
  Digest digest_;
  ValueSink& sink_;
  std::uint64_t invalid_ = 0;
};

}  // namespace penstock::parsers::wire::json
