#include "parsers/wire/sse/sse.h"

#include <algorithm>
#include <cstring>

#include "parsers/wire/scan.h"

namespace penstock::parsers::wire::sse {
namespace {
constexpr std::string_view kBom = "\xef\xbb\xbf";
constexpr std::size_t kNameBytes = 64;
}  // namespace

void Parser::feed(std::string_view bytes) {
  const char* p = bytes.data();
  const char* const end = p + bytes.size();
  while (p != end) {
    if (after_cr_) {
      after_cr_ = false;
      if (*p == '\n') {
        ++p;
        continue;
      }
    }
    p = step(p, end);
  }
}

const char* Parser::step(const char* p, const char* end) {
  switch (state_) {
    case State::kBom:
      if (*p == kBom[bom_]) {
        if (++bom_ == kBom.size()) state_ = State::kLineStart;
        return p + 1;
      }
      state_ = State::kLineStart;
      if (bom_ != 0) {  // the bytes were not a mark but the beginning of a name
        name_.assign(kBom.substr(0, bom_));
        state_ = State::kName;
      }
      return p;
    case State::kLineStart:
      if (end - p >= 6 && p[4] == ':' && std::memcmp(p, "data", 4) == 0) {  // what nearly every line is
        begin_data();
        state_ = State::kData;
        return p + (p[5] == ' ' ? 6 : 5);
      }
      if (*p == ':') {
        ++comments_;
        state_ = State::kComment;
        return p + 1;
      }
      if (*p == '\r' || *p == '\n') {
        after_cr_ = *p == '\r';
        end_event(true);
        return p + 1;
      }
      name_.clear();
      state_ = State::kName;
      return p;
    case State::kName: {
      const char c = *p;
      if (c == '\r' || c == '\n') {
        after_cr_ = c == '\r';
        end_name();
        end_line();
      } else if (c == ':') {
        end_name();
      } else if (name_.size() < kNameBytes) {
        name_.push_back(c);
      }
      return p + 1;
    }
    case State::kSpace:
      state_ = is_data_ ? State::kData : State::kValue;
      return *p == ' ' ? p + 1 : p;
    case State::kData:
    case State::kValue:
    case State::kComment: {
      const char* stop = find_either(p, end, '\r', '\n');
      const std::string_view piece(p, static_cast<std::size_t>(stop - p));
      if (state_ == State::kData) {
        data(piece);
      } else if (state_ == State::kValue) {
        const std::size_t room = limits::kSseFieldBytes - value_.size();
        value_.append(piece.substr(0, room));
        value_cut_ |= piece.size() > room;
      }
      if (stop == end) return end;
      after_cr_ = *stop == '\r';
      end_line();
      return stop + 1;
    }
    case State::kSkipEvent: {
      const char* stop = find_either(p, end, '\r', '\n');
      if (stop != p) line_empty_ = false;
      if (stop == end) return end;
      after_cr_ = *stop == '\r';
      if (line_empty_) {
        state_ = State::kLineStart;
        reset_event();
      }
      line_empty_ = true;
      return stop + 1;
    }
  }
  return end;
}

// The name is complete: at a colon, or at the end of a line that has none.
void Parser::end_name() {
  value_.clear();
  value_cut_ = false;
  is_data_ = name_ == "data";
  if (is_data_) begin_data();
  state_ = State::kSpace;
}

void Parser::begin_data() {
  if (has_data_) data("\n");
  is_data_ = true;
  has_data_ = true;
}

void Parser::end_line() {
  const bool comment = state_ == State::kComment;
  state_ = State::kLineStart;
  if (comment) return;
  any_field_ = true;
  if (is_data_) return;
  if (name_ == "event") type_ = value_;
  if (name_ == "id") id_ = value_;
  sink_.on_field(name_, value_, !value_cut_);
}

void Parser::data(std::string_view piece) {
  if (piece.empty()) return;
  const std::size_t head = std::min(piece.size(), sizeof head_ - head_size_);
  std::memcpy(head_ + head_size_, piece.data(), head);
  head_size_ = static_cast<std::uint8_t>(head_size_ + head);
  data_bytes_ += piece.size();
  sink_.on_data(piece);
}

void Parser::end_event(bool terminated) {
  if (any_field_) {
    sink_.on_event(Event{type_, id_, std::string_view(head_, head_size_), data_bytes_, has_data_, terminated});
  }
  reset_event();
}

void Parser::reset_event() {
  type_.clear();
  any_field_ = false;
  has_data_ = false;
  head_size_ = 0;
  data_bytes_ = 0;
}

void Parser::finish() {
  if (state_ == State::kName) end_name();
  if (state_ == State::kSpace || state_ == State::kData || state_ == State::kValue) end_line();
  if (state_ != State::kSkipEvent) end_event(false);
  state_ = State::kBom;
  bom_ = 0;
  after_cr_ = false;
  id_.clear();
}

void Parser::gap() {
  reset_event();
  state_ = State::kSkipEvent;
  line_empty_ = false;
  after_cr_ = false;
}

bool looks_like_events(std::string_view beginning) {
  if (beginning.starts_with(kBom)) beginning.remove_prefix(kBom.size());
  while (!beginning.empty() && (beginning.front() == '\r' || beginning.front() == '\n')) beginning.remove_prefix(1);
  for (const std::string_view name : {"data:", "event:", "id:", "retry:", ":"}) {
    if (beginning.starts_with(name)) return true;
  }
  return false;
}

}  // namespace penstock::parsers::wire::sse
