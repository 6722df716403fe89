#include "parsers/wire/multipart/multipart.h"

#include <cstring>

#include "parsers/core/limits.h"

namespace penstock::parsers::wire::multipart {
namespace {
constexpr std::size_t kBoundaryBytes = 256;  // RFC 2046 allows 70
constexpr std::size_t kPartHeadBytes = 16 * 1024;
constexpr std::size_t kPartFields = 64;
}  // namespace

Parser::Parser(std::string_view boundary, Sink& sink)
    : delimiter_("\r\n--" + std::string(boundary)),
      sink_(sink),
      // The body may begin with the delimiter, whose CRLF is then missing.
      matched_(line_end()),
      borrowed_(line_end()) {
  if (boundary.empty() || boundary.size() > kBoundaryBytes) state_ = State::kInvalid;
}

ParseState Parser::feed(std::string_view bytes) {
  const char* p = bytes.data();
  const char* const end = p + bytes.size();
  while (p != end) {
    switch (state_) {
      case State::kPreamble:
      case State::kContent:
        p = scan(p, end);
        break;
      case State::kAfterBoundary:
      case State::kHead:
        p = head(p, end);
        break;
      case State::kEpilogue:
        return ParseState::kDone;
      case State::kInvalid:
        return ParseState::kInvalid;
    }
  }
  return state_ == State::kInvalid    ? ParseState::kInvalid
         : state_ == State::kEpilogue ? ParseState::kDone
                                      : ParseState::kNeedMore;
}

// Looks for the delimiter. Its first byte, CR (or LF), occurs nowhere else in it (a boundary has no control
// characters), so after a mismatch only the byte at hand can begin a new match.
const char* Parser::scan(const char* p, const char* end) {
  while (p != end) {
    if (matched_ == 0) {
      const void* found = std::memchr(p, delimiter_[0], static_cast<std::size_t>(end - p));
      const char* stop = found == nullptr ? end : static_cast<const char*>(found);
      if (stop != p) content(std::string_view(p, static_cast<std::size_t>(stop - p)));
      p = stop;
      if (p == end) return p;
      matched_ = 1;
      ++p;
      continue;
    }
    if (*p == delimiter_[matched_]) {
      ++p;
      if (++matched_ < delimiter_.size()) continue;
      matched_ = 0;
      borrowed_ = 0;
      if (part_open_) {
        part_open_ = false;
        sink_.on_part_end(true);
      }
      line_.clear();
      state_ = State::kAfterBoundary;
      return p;
    }
    // What matched so far was content.
    content(std::string_view(delimiter_).substr(borrowed_, matched_ - borrowed_));
    matched_ = 0;
    borrowed_ = 0;
  }
  return p;
}

const char* Parser::head(const char* p, const char* end) {
  const void* found = std::memchr(p, '\n', static_cast<std::size_t>(end - p));
  const char* stop = found == nullptr ? end : static_cast<const char*>(found);
  line_.append(p, static_cast<std::size_t>(stop - p));
  head_bytes_ += static_cast<std::size_t>(stop - p) + 1;
  // The end of the body needs no line end behind it.
  if (state_ == State::kAfterBoundary && line_.starts_with("--")) {
    state_ = State::kEpilogue;
    return end;
  }
  if (head_bytes_ > kPartHeadBytes || line_.size() > kPartHeadBytes) {
    state_ = State::kInvalid;
    return end;
  }
  if (found == nullptr) return end;
  std::string_view line = line_;
  const bool bare = !line.ends_with('\r');
  if (!bare) line.remove_suffix(1);
  if (state_ == State::kAfterBoundary) {
    // Only transport padding may follow; otherwise the boundary was the beginning of a longer text.
    if (line.find_first_not_of(" \t") != std::string_view::npos) {
      state_ = State::kInvalid;
      return end;
    }
    // Who ends the first line with LF alone ends all lines so.
    if (bare && parts_ == 0) delimiter_.erase(0, 1);
    ++parts_;
    fields_.clear();
    head_bytes_ = 0;
    state_ = State::kHead;
  } else if (line.empty()) {
    begin_content();
  } else {
    head_line(line);
  }
  line_.clear();
  return stop + 1;
}

void Parser::head_line(std::string_view line) {
  if (line[0] == ' ' || line[0] == '\t') {
    fields_.extend_last(http::trim(line));
    return;
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || fields_.size() >= kPartFields) return;
  fields_.add(http::trim(line.substr(0, colon)), http::trim(line.substr(colon + 1)));
}

void Parser::begin_content() {
  const std::string_view disposition = fields_.get("content-disposition");
  Part part;
  part.name = http::parameter(disposition, "name").value_or("");
  const std::optional<std::string> file = http::parameter(disposition, "filename");
  const std::optional<std::string> extended = http::parameter(disposition, "filename*");
  part.is_file = file.has_value() || extended.has_value();
  part.filename = file ? *file : extended.value_or("");
  part.content_type = fields_.get("content-type");
  state_ = State::kContent;
  part_open_ = true;
  // An empty part: the delimiter's CRLF is the one that ended the head.
  matched_ = line_end();
  borrowed_ = line_end();
  sink_.on_part_begin(part);
}

void Parser::content(std::string_view piece) {
  if (part_open_) sink_.on_part_data(piece);
}

ParseState Parser::finish() {
  if (part_open_) {
    part_open_ = false;
    sink_.on_part_end(false);
  }
  if (state_ == State::kInvalid) return ParseState::kInvalid;
  return state_ == State::kEpilogue ? ParseState::kDone : ParseState::kNeedMore;
}

}  // namespace penstock::parsers::wire::multipart
