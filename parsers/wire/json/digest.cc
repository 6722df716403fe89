#include "parsers/wire/json/digest.h"

#include <algorithm>
#include <array>

namespace penstock::parsers::wire::json {
namespace {

// Base64 as a value (images, audio, encrypted reasoning) is no text: it would dwarf every token estimate. `size` is the
// decoded length of the whole string, `head` its first bytes.
bool is_blob(std::string_view head, std::uint64_t size) {
  if (head.starts_with("data:")) return head.find(";base64,") != std::string_view::npos || size > 256;
  if (size < 256) return false;
  bool mixed = false;
  for (const char c : head) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool other =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/' || c == '-' || c == '_' || c == '=';
    if (!upper && !other) return false;
    mixed |= upper || (c >= '0' && c <= '9');
  }
  return mixed;
}

}  // namespace

namespace detail {

void Builder::clear() {
  nodes_.clear();
  text_.clear();
  frames_.clear();
  current_ = kMuted;
  root_is_array_ = false;
  tapping_ = false;
  muted_ = false;
  has_key_ = false;
  seen_ = 0;
}

void Builder::release() {
  clear();
  nodes_.shrink_to_fit();
  text_.shrink_to_fit();
  frames_.shrink_to_fit();
  tap_key_ = {};
}

inline void Builder::key(std::string_view key) {
  if (frames_.back().node == kMuted && options_.tap == nullptr) return;
  key_at_ = static_cast<std::uint32_t>(text_.size());
  key_size_ = static_cast<std::uint16_t>(key.size());
  text_.append(key);
  has_key_ = true;
}

// The value of the key is not kept.
inline void Builder::drop_key() {
  if (has_key_) text_.resize(key_at_);
  has_key_ = false;
}

inline std::uint32_t Builder::keep_text(std::string_view text) {
  const auto at = static_cast<std::uint32_t>(text_.size());
  text_.append(text);
  return at;
}

inline std::uint32_t Builder::add(Type type, std::uint64_t at) {
  const bool element = element_level();
  if (element && !nodes_.empty()) {
    // The element before it was delivered; a new one starts.
    nodes_.clear();
    text_.clear();
  }
  const bool root = frames_.empty() || element;
  if (!root && frames_.back().node == kMuted) {
    drop_key();
    return kMuted;
  }
  if (nodes_.size() >= options_.nodes || text_.size() + limits::kJsonNumberBytes > options_.text_bytes) {
    if (muted_ || !make_room()) {
      muted_ = true;
      if (!root) ++nodes_[frames_.back().node].dropped;
      drop_key();
      return kMuted;
    }
  }
  const auto index = static_cast<std::uint32_t>(nodes_.size());
  Node& node = nodes_.emplace_back();
  node.type = type;
  node.begin = at;
  if (!root) ++nodes_[frames_.back().node].children;
  if (has_key_) {
    nodes_[frames_.back().node].keys |= key_bit(pending_key());
    node.key_at = key_at_;
    node.key_size = key_size_;
    has_key_ = false;
  }
  return index;
}

// Room for what most documents hold.
void Builder::begin() {
  nodes_.reserve(16);
  text_.reserve(255);
  frames_.reserve(8);
}

inline void Builder::open(Type type, std::uint64_t at) {
  if (frames_.empty() && split_root_array_ && type == Type::kArray) {
    root_is_array_ = true;
    frames_.push_back(Frame{kMuted});
    return;
  }
  if (options_.tap != nullptr && type == Type::kObject) tap_key_.clear();
  if (options_.tap != nullptr && type == Type::kArray && has_key_) tap_key_ = pending_key();
  if (nodes_.capacity() == 0) begin();
  const std::uint32_t node = add(type, at);
  frames_.push_back(Frame{node});
}

inline void Builder::close(std::uint64_t end) {
  const Frame frame = frames_.back();
  frames_.pop_back();
  tap_key_.clear();
  if (frame.node != kMuted) {
    Node& node = nodes_[frame.node];
    node.end = static_cast<std::uint32_t>(nodes_.size());
    node.raw_size = end - node.begin;
    node.bytes = frame.text;
    node.blobs = frame.blobs;
    node.complete = true;
  }
  if (!frames_.empty()) {
    frames_.back().text += frame.text;
    frames_.back().blobs += frame.blobs;
  }
  if (element_level()) deliver();
}

inline bool Builder::tapped(std::string_view key) const {
  for (std::size_t i = 0; i < options_.tap_key_count; ++i) {
    if (options_.tap_keys[i] == key) return true;
  }
  return false;
}

inline void Builder::string_begin(std::uint64_t at) {
  if (options_.tap != nullptr) {
    if (has_key_) tap_key_ = pending_key();
    tapping_ = tapped(tap_key_);
  }
  string_at_ = at;
  head_size_ = 0;
  current_ = add(Type::kString, at);
  if (current_ != kMuted) {
    Node& node = nodes_[current_];
    node.text_at = static_cast<std::uint32_t>(text_.size());
    node.end = current_ + 1;
  }
}

inline bool Builder::string_piece(std::string_view piece) {
  if (tapping_) options_.tap->on_string(tap_key_, piece, false);
  const std::size_t head = std::min(piece.size(), sizeof head_ - head_size_);
  std::memcpy(head_ + head_size_, piece.data(), head);
  head_size_ += head;
  bool room = head_size_ < sizeof head_;
  if (current_ != kMuted) {
    Node& node = nodes_[current_];
    const std::size_t bound = std::min(options_.string_bytes - node.text_size,
                                       options_.text_bytes - std::min(options_.text_bytes, text_.size()));
    const std::size_t take = std::min(piece.size(), bound);
    text_.append(piece.substr(0, take));
    node.text_size += static_cast<std::uint32_t>(take);
    node.bytes += piece.size();
    room |= take < bound;
  }
  return room || tapping_;
}

inline void Builder::string_end(std::uint64_t end, std::uint64_t decoded) {
  if (tapping_) options_.tap->on_string(tap_key_, {}, true);
  tapping_ = false;
  const bool blob = is_blob(std::string_view(head_, head_size_), decoded);
  if (current_ != kMuted) {
    Node& node = nodes_[current_];
    node.bytes = decoded;
    node.blob = blob;
    node.complete = true;
    node.raw_size = end - node.begin;
    current_ = kMuted;
  }
  if (!frames_.empty()) (blob ? frames_.back().blobs : frames_.back().text) += decoded;
  if (element_level()) deliver();
}

inline void Builder::number(std::uint64_t at, std::string_view text, bool whole) {
  const std::uint32_t index = add(Type::kNumber, at);
  if (index != kMuted) {
    const std::uint32_t text_at = keep_text(text);
    Node& node = nodes_[index];
    node.text_at = text_at;
    node.text_size = static_cast<std::uint32_t>(text.size());
    node.end = index + 1;
    node.raw_size = text.size();
    node.complete = whole;
  }
  if (element_level()) deliver();
}

inline void Builder::literal(std::uint64_t at, Literal literal) {
  const std::uint32_t index = add(literal == Literal::kNull ? Type::kNull : Type::kBool, at);
  if (index != kMuted) {
    Node& node = nodes_[index];
    node.truth = literal == Literal::kTrue;
    node.end = index + 1;
    node.raw_size = literal == Literal::kFalse ? 5 : 4;
    node.complete = true;
  }
  if (element_level()) deliver();
}

inline void Builder::root_end(std::uint64_t) {
  if (sink_ == nullptr) return;
  if (!root_is_array_ || !split_root_array_) deliver();
  root_is_array_ = false;
}

void Builder::deliver() {
  if (sink_ == nullptr) return;
  if (!nodes_.empty()) sink_->on_value(owner_->root());
  nodes_.clear();
  text_.clear();
  muted_ = false;
}

std::uint64_t Builder::open_total(std::uint32_t index, bool blobs) const {
  // Everything in the frames from this container inwards, and the open string.
  std::uint64_t total = 0;
  for (auto frame = frames_.rbegin(); frame != frames_.rend(); ++frame) {
    total += blobs ? frame->blobs : frame->text;
    if (frame->node == index) break;
  }
  if (current_ != kMuted && current_ >= index && !blobs) total += nodes_[current_].bytes;
  return total;
}

// Drops the older half of the elements of the array that frees most. Amortised constant per node.
bool Builder::make_room() {
  std::uint32_t best = kMuted;
  std::uint32_t best_begin = 0, best_end = 0, best_dropped = 0;
  const auto size = static_cast<std::uint32_t>(nodes_.size());
  for (std::uint32_t i = 0; i < size; ++i) {
    const Node& node = nodes_[i];
    if (node.type != Type::kArray || node.children < 2) continue;
    const std::uint32_t end = node.end == 0 ? size : node.end;
    if (end - i <= best_end - best_begin) continue;  // cannot free more
    std::uint32_t child = i + 1;
    const std::uint32_t half = node.children / 2;  // the last child, which may be open, always stays
    for (std::uint32_t n = 0; n < half; ++n) child = nodes_[child].end;
    if (child - (i + 1) > best_end - best_begin) {
      best = i;
      best_begin = i + 1;
      best_end = child;
      best_dropped = half;
    }
  }
  // A few nodes are not worth moving all others.
  if (best == kMuted || best_end - best_begin < std::max<std::uint32_t>(size / 16, 1)) return false;
  const std::uint32_t gone = best_end - best_begin;
  nodes_[best].children -= best_dropped;
  nodes_[best].dropped += best_dropped;
  for (Node& node : nodes_) {
    if (node.end >= best_end) node.end -= gone;
  }
  nodes_.erase(nodes_.begin() + best_begin, nodes_.begin() + best_end);
  for (Frame& frame : frames_) {
    if (frame.node != kMuted && frame.node >= best_end) frame.node -= gone;
  }
  // Text was appended in node order, so it moves down in that order.
  std::uint32_t used = 0;
  for (Node& node : nodes_) {
    std::memmove(text_.data() + used, text_.data() + node.key_at, node.key_size);
    node.key_at = used;
    used += node.key_size;
    std::memmove(text_.data() + used, text_.data() + node.text_at, node.text_size);
    node.text_at = used;
    used += node.text_size;
  }
  if (has_key_) {
    std::memmove(text_.data() + used, text_.data() + key_at_, key_size_);
    key_at_ = used;
    used += key_size_;
  }
  text_.resize(used);
  return true;
}

}  // namespace detail

// Here and not in the header, so that scanner and builder become one function.
ParseState Digest::feed(std::string_view bytes) {
  const ParseState state = scanner_.feed(bytes);
  builder_.seen_ = scanner_.offset();
  return state;
}

ParseState Digest::finish() { return scanner_.finish(); }

Value Value::at(std::size_t position) const {
  if (!is_array() || position < node_->dropped) return {};
  std::size_t i = node_->dropped;
  for (const Value item : items()) {
    if (i++ == position) return item;
  }
  return {};
}

std::optional<double> Value::as_double() const { return is_number() && complete() ? to_double(text()) : std::nullopt; }
std::optional<bool> Value::as_bool() const {
  if (type() != Type::kBool) return std::nullopt;
  return node_->truth;
}

std::uint64_t Value::text_bytes() const {
  if (is_string()) return node_->blob ? 0 : node_->bytes;
  if (!is_array() && !is_object()) return 0;
  return node_->complete ? node_->bytes : digest_->builder_.open_total(index(), false);
}

std::uint64_t Value::blob_bytes() const {
  if (is_string()) return node_->blob ? node_->bytes : 0;
  if (!is_array() && !is_object()) return 0;
  return node_->complete ? node_->blobs : digest_->builder_.open_total(index(), true);
}

std::uint64_t Value::raw_bytes() const {
  if (node_ == nullptr) return 0;
  return node_->complete || node_->raw_size != 0 ? node_->raw_size : digest_->builder_.seen_ - node_->begin;
}

Values::Values(DigestOptions options, Split split, ValueSink& sink)
    : digest_(options, Dialect{.strict = options.strict, .multi = true}), sink_(sink) {
  digest_.builder_.sink_ = &sink;
  digest_.builder_.owner_ = &digest_;
  digest_.builder_.split_root_array_ = split == Split::kElements;
}

void Values::feed(std::string_view bytes, bool resync) {
  while (!bytes.empty()) {
    if (!resync) {
      digest_.feed(bytes);
      return;
    }
    // Line by line: a broken line ends with its line feed, which no string holds unescaped.
    const std::size_t line_feed = bytes.find('\n');
    const std::size_t size = line_feed == std::string_view::npos ? bytes.size() : line_feed + 1;
    digest_.feed(bytes.substr(0, size));
    if (line_feed != std::string_view::npos && (stopped(digest_.state()) || digest_.scanner_.in_string())) {
      ++invalid_;
      const std::uint64_t offset = digest_.scanner_.offset();
      digest_.builder_.clear();
      digest_.builder_.seen_ = offset;
      digest_.scanner_.restart();
    }
    bytes.remove_prefix(size);
  }
}

void Values::finish() {
  digest_.finish();
  if (digest_.root()) sink_.on_value(digest_.root());
  digest_.builder_.clear();
  digest_.scanner_.reset();
}

void Values::clear() {
  digest_.clear();
  invalid_ = 0;
}

}  // namespace penstock::parsers::wire::json
