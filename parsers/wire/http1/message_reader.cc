#include "parsers/wire/http1/message_reader.h"

#include <algorithm>
#include <cstring>

namespace penstock::parsers::wire::http1 {
namespace {

constexpr std::size_t kSyncLineBytes = 8 * 1024;  // of a line that may end in a start line

bool token_char(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return c != 0 && std::strchr("!#$%&'*+-.^_`|~", c) != nullptr;
}
bool token(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), token_char); }
bool digit(char c) { return c >= '0' && c <= '9'; }

// "HTTP/1.0" or "HTTP/1.1": 10 or 11; 0 for anything else.
std::uint8_t version(std::string_view text) {
  if (text == "HTTP/1.1") return 11;
  return text == "HTTP/1.0" ? 10 : 0;
}

bool target_valid(std::string_view target, bool connect) {
  if (target.empty()) return false;
  for (const char c : target) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f) return false;
  }
  if (target[0] == '/' || target == "*") return true;
  if (connect) return std::count(target.begin(), target.end(), '@') <= 1;
  const std::size_t scheme = target.find("://");
  if (scheme == std::string_view::npos || scheme == 0) return false;
  for (const char c : target.substr(0, scheme)) {
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) return false;
  }
  const std::string_view rest = target.substr(scheme + 3);
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
  if (authority.empty() || std::count(authority.begin(), authority.end(), '@') > 1) return false;
  return authority.find_first_of("#\"<>\\^`{|}") == std::string_view::npos;
}

constexpr std::string_view kMethods[] = {"GET",  "POST",    "PUT",     "DELETE", "PATCH",
                                         "HEAD", "OPTIONS", "CONNECT", "TRACE"};

}  // namespace

MessageReader::MessageReader(bool request, const http::Options& options, Events& events)
    : request_(request), options_(options), events_(events), state_(options.joined ? State::kSync : State::kStart) {}

void MessageReader::feed(std::uint64_t pos, std::span<const std::uint8_t> bytes) {
  begin_ = bytes.data();
  pos_ = pos;
  const std::uint8_t* p = begin_;
  const std::uint8_t* const end = p + bytes.size();
  while (p != end) p = step(p, end);
}

const std::uint8_t* MessageReader::step(const std::uint8_t* p, const std::uint8_t* end) {
  switch (state_) {
    case State::kStart:
      if (*p == '\r' || *p == '\n') return p + 1;  // RFC 9112 §2.2: empty lines before a start line
      begin_message(pos_of(p));
      return p;
    case State::kSync:
    case State::kLine:
    case State::kTrailers:
      return head_bytes(p, end);
    case State::kBody:
    case State::kChunkData:
    case State::kUntilEnd:
    case State::kTunnel:
      return body_bytes(p, end);
    case State::kChunkSize:
    case State::kChunkExtension:
    case State::kChunkSizeLf:
      return chunk_size(p, end);
    case State::kChunkCr:
      if (*p == '\r') {
        state_ = State::kChunkLf;
        return p + 1;
      }
      if (*p != '\n' || request_ || !options_.bare_line_feed) {
        invalid("no CRLF behind a chunk");
        return p;
      }
      [[fallthrough]];
    case State::kChunkLf:
      if (*p != '\n') {
        invalid("no CRLF behind a chunk");
        return p;
      }
      begin_body(Framing::kChunked, p + 1);
      return p + 1;
    case State::kClosed:
      if (*p == '\r' || *p == '\n') return p + 1;
      invalid("data after Connection: close");
      return p;
  }
  return end;
}

void MessageReader::begin_message(std::uint64_t pos) {
  message_pos_ = pos;
  head_bytes_ = 0;
  first_line_ = true;
  tentative_ = false;
  close_ = false;
  line_.clear();
  fields().clear();
  trailers_.clear();
  state_ = State::kLine;
}

const std::uint8_t* MessageReader::head_bytes(const std::uint8_t* p, const std::uint8_t* end) {
  const auto* line_feed = static_cast<const std::uint8_t*>(std::memchr(p, '\n', static_cast<std::size_t>(end - p)));
  const std::uint8_t* const stop = line_feed == nullptr ? end : line_feed;
  const bool sync = state_ == State::kSync;
  const std::string_view piece(reinterpret_cast<const char*>(p), static_cast<std::size_t>(stop - p));
  if (!sync) {
    head_bytes_ += piece.size() + 1;
    if (head_bytes_ > limits::kHeadBytes) {
      invalid("head too large");
      return p;
    }
  }
  if (line_feed == nullptr || !line_.empty()) {
    line_.append(piece);
    // Only the end of a line can be a start line that is searched for.
    if (sync && line_.size() > 2 * kSyncLineBytes) line_.erase(0, line_.size() - kSyncLineBytes);
    if (line_feed == nullptr) return end;
  }
  const std::string whole = std::move(line_);
  line_.clear();
  const std::string_view text = whole.empty() ? piece : std::string_view(whole);
  if (sync) {
    sync_line(text, line_feed + 1);
  } else {
    head_line(text, line_feed + 1);
  }
  return line_feed + 1;
}

void MessageReader::head_line(std::string_view text, const std::uint8_t* after) {
  const std::string_view raw = text;
  std::string_view why;
  if (text.ends_with('\r')) {
    text.remove_suffix(1);
  } else if (!options_.bare_line_feed) {
    why = "no CR before LF";
  }
  if (!why.empty()) {
  } else if (first_line_) {
    first_line_ = false;
    why = start_line(text);
  } else if (!text.empty()) {
    why = field_line(text);
  } else if (state_ == State::kTrailers) {
    end_message(after);
    return;
  } else if (tentative_ && fields().empty()) {
    why = "a start line alone";
  } else {
    tentative_ = false;
    const Framing framing = events_.on_head(*this, announced_framing(), message_pos_);
    begin_body(framing, after);
    return;
  }
  if (why.empty()) return;
  const bool found_by_sync = tentative_;
  invalid(why);
  // What looked like a head was none, but the line that showed it may begin one.
  if (found_by_sync) sync_line(raw, after);
}

// Looks for a start line at the end of `text`: the end of a lost body and the next head share a line.
void MessageReader::sync_line(std::string_view text, const std::uint8_t* after) {
  const std::size_t ending = text.ends_with('\r') ? 2 : 1;
  if (ending == 2) text.remove_suffix(1);
  if (text.size() > kSyncLineBytes) text.remove_prefix(text.size() - kSyncLineBytes);
  std::size_t at = std::string_view::npos;
  if (!request_) {
    at = text.rfind("HTTP/1.");
  } else if (text.ends_with(" HTTP/1.1") || text.ends_with(" HTTP/1.0")) {
    const std::size_t space = text.rfind(' ', text.size() - 10);
    for (const std::string_view method : kMethods) {
      if (space != std::string_view::npos && text.substr(0, space).ends_with(method)) at = space - method.size();
    }
  }
  if (at == std::string_view::npos) return;
  text.remove_prefix(at);
  begin_message(pos_of(after) - ending - text.size());
  tentative_ = true;
  first_line_ = false;
  if (!start_line(text).empty()) begin_sync();
}

std::string_view MessageReader::start_line(std::string_view text) {
  return (request_ ? request_line(text) : status_line(text)) ? std::string_view() : "no start line";
}

bool MessageReader::request_line(std::string_view text) {
  // Servers take runs of spaces for one (RFC 9112 §3 allows it).
  const std::size_t first = text.find(' ');
  const std::size_t last = text.rfind(' ');
  if (first == std::string_view::npos || last == first) return false;
  const std::string_view method = text.substr(0, first);
  std::string_view target = text.substr(first + 1, last - first - 1);
  while (target.starts_with(' ')) target.remove_prefix(1);
  while (target.ends_with(' ')) target.remove_suffix(1);
  request_head_.version = version(text.substr(last + 1));
  if (!token(method) || method.size() > 32 || request_head_.version == 0) return false;
  if (!target_valid(target, method == "CONNECT")) return false;
  request_head_.method = method;
  request_head_.target = target;
  request_head_.authority.clear();
  return true;
}

bool MessageReader::status_line(std::string_view text) {
  // HTTP/1.1 200 OK; the reason and the space before it may be missing.
  if (text.size() < 12 || text[8] != ' ') return false;
  response_head_.version = version(text.substr(0, 8));
  if (response_head_.version == 0) return false;
  if (text[9] < '1' || text[9] > '9' || !digit(text[10]) || !digit(text[11])) return false;
  if (text.size() > 12 && text[12] != ' ') return false;
  for (const char c : text.substr(12)) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) return false;
  }
  response_head_.status = static_cast<std::uint32_t>((text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0'));
  return true;
}

std::string_view MessageReader::field_line(std::string_view text) {
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) return "control character in a field";
  }
  http::Fields& into = state_ == State::kTrailers ? trailers_ : fields();
  if (text[0] == ' ' || text[0] == '\t') {
    if (into.empty()) return "white space before the first field";
    // RFC 9112 §5.2. A folded framing field is read differently by different servers.
    const std::string_view name = into[into.size() - 1].name;
    if (name == "content-length" || name == "transfer-encoding") return "folded framing field";
    const std::string_view more = http::trim(text);
    const std::size_t hidden = more.find(':');
    if (request_ && hidden != std::string_view::npos && token(more.substr(0, hidden)))
      return "a field in a folded line";
    into.extend_last(more);
    return {};
  }
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || !token(text.substr(0, colon))) return "bad field name";
  if (into.size() >= limits::kHeaders) return "too many fields";
  if (state_ == State::kTrailers && request_) {
    const std::string_view name = text.substr(0, colon);
    const bool framing =
        http::equals_ignoring_case(name, "content-length") || http::equals_ignoring_case(name, "transfer-encoding");
    if (framing) return "framing field in the trailers";
  }
  into.add(text.substr(0, colon), http::trim(text.substr(colon + 1)));
  return {};
}

Framing MessageReader::announced_framing() {
  const http::Fields& head = fields();
  const std::uint8_t version = request_ ? request_head_.version : response_head_.version;
  close_ = head.has_token("connection", "close") || (version == 10 && !head.has_token("connection", "keep-alive"));
  bool coded = false;
  bool chunked_last = false;
  std::size_t chunked = 0;
  bool empty_coding = false;
  std::optional<std::uint64_t> length;
  bool bad_length = false;
  for (std::size_t i = 0; i < head.size(); ++i) {
    const auto [name, value] = head[i];
    if (name == "transfer-encoding") {
      coded = true;
      empty_coding |= value.empty();
    } else if (name == "content-length") {
      std::uint64_t n = 0;
      bad_length |= value.empty();
      for (const char c : value) {
        if (!digit(c) || n > (~0ull >> 1) / 10 - 1) {
          bad_length = true;
          break;
        }
        n = n * 10 + static_cast<std::uint64_t>(c - '0');
      }
      // A repeated length is refused in requests even when it agrees; answers that repeat it exist.
      bad_length |= length.has_value() && (request_ || *length != n);
      length = n;
    }
  }
  head.each_element("transfer-encoding", [&](std::string_view coding) {
    chunked_last = http::equals_ignoring_case(coding, "chunked");
    chunked += chunked_last ? 1u : 0u;
  });
  if (bad_length) return Framing::kInvalid;
  remaining_ = length.value_or(0);
  if (coded) {
    // RFC 9112 §6.3: with both, one of the two readers is being fooled. An answer's coding overrides its length.
    if (request_ && (length || !chunked_last || empty_coding)) return Framing::kInvalid;
    if (chunked > 1) return Framing::kInvalid;
    return chunked_last ? Framing::kChunked : Framing::kUntilEnd;
  }
  if (length) return *length == 0 ? Framing::kNone : Framing::kLength;
  return request_ ? Framing::kNone : Framing::kUntilEnd;
}

void MessageReader::begin_body(Framing framing, const std::uint8_t* after) {
  switch (framing) {
    case Framing::kNone:
      end_message(after);
      return;
    case Framing::kLength:
      state_ = State::kBody;
      return;
    case Framing::kChunked:
      remaining_ = 0;
      size_digits_ = 0;
      head_bytes_ = 0;
      state_ = State::kChunkSize;
      return;
    case Framing::kUntilEnd:
      state_ = State::kUntilEnd;
      return;
    case Framing::kTunnel:
      state_ = State::kTunnel;
      return;
    case Framing::kInvalid:
      state_ = State::kBody;
      invalid("ambiguous framing");
      return;
  }
}

const std::uint8_t* MessageReader::body_bytes(const std::uint8_t* p, const std::uint8_t* end) {
  const auto available = static_cast<std::size_t>(end - p);
  if (state_ == State::kTunnel) {
    events_.on_tunnel(*this, {p, available}, pos_of(p));
    return end;
  }
  if (state_ == State::kUntilEnd) {
    events_.on_body(*this, {p, available}, pos_of(p));
    return end;
  }
  const std::size_t take = remaining_ < available ? static_cast<std::size_t>(remaining_) : available;
  remaining_ -= take;
  if (take != 0) events_.on_body(*this, {p, take}, pos_of(p));
  p += take;
  if (remaining_ != 0) return p;
  if (state_ == State::kChunkData) {
    state_ = State::kChunkCr;
  } else {
    end_message(p);
  }
  return p;
}

// chunk-size [ ";" extensions ] CRLF. A request's line must be exact: leniency here is what smuggling lives on.
const std::uint8_t* MessageReader::chunk_size(const std::uint8_t* p, const std::uint8_t* end) {
  for (; p != end; ++p) {
    if (++head_bytes_ > limits::kChunkLineBytes) {
      invalid("chunk extensions too long");
      return p;
    }
    const char c = static_cast<char>(*p);
    const bool forgiving = !request_ && options_.bare_line_feed;
    const bool may_end = size_digits_ != 0 && (state_ != State::kChunkExtension || extension_ == Extension::kInName ||
                                               extension_ == Extension::kValue || extension_ == Extension::kInValue ||
                                               extension_ == Extension::kAfterQuoted);
    if (c == '\n' && (state_ == State::kChunkSizeLf || (forgiving && may_end))) {
      state_ = remaining_ == 0 ? State::kTrailers : State::kChunkData;
      head_bytes_ = 0;
      return p + 1;
    }
    if (state_ == State::kChunkSizeLf) {
      invalid("no LF behind a chunk size");
      return p;
    }
    if (c == '\r' && may_end) {
      state_ = State::kChunkSizeLf;
      continue;
    }
    if (state_ == State::kChunkExtension) {
      if (!chunk_extension(c)) {
        invalid("bad chunk extension");
        return p;
      }
      continue;
    }
    const int value = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (value >= 0 && size_digits_ < 15) {
      remaining_ = remaining_ * 16 + static_cast<std::uint64_t>(value);
      ++size_digits_;
    } else if (size_digits_ != 0 && (c == ';' || ((c == ' ' || c == '\t') && forgiving))) {
      state_ = State::kChunkExtension;
      extension_ = c == ';' ? Extension::kName : Extension::kAfterQuoted;
    } else {
      invalid("bad chunk size");
      return p;
    }
  }
  return p;
}

// *( ";" name [ "=" ( token / quoted-string ) ] )
bool MessageReader::chunk_extension(char c) {
  switch (extension_) {
    case Extension::kName:
    case Extension::kInName:
      if (token_char(c)) {
        extension_ = Extension::kInName;
        return true;
      }
      if (extension_ == Extension::kName || (c != '=' && c != ';')) return false;
      extension_ = c == '=' ? Extension::kValue : Extension::kName;
      return true;
    case Extension::kValue:  // it may be empty
      if (c == ';') {
        extension_ = Extension::kName;
        return true;
      }
      extension_ = c == '"' ? Extension::kQuoted : Extension::kInValue;
      return c == '"' || token_char(c);
    case Extension::kInValue:
      if (c == ';') extension_ = Extension::kName;
      return c == ';' || token_char(c);
    case Extension::kQuoted:
      if (c == '"') extension_ = Extension::kAfterQuoted;
      if (c == '\\') extension_ = Extension::kEscaped;
      return static_cast<unsigned char>(c) >= 0x20 || c == '\t';
    case Extension::kEscaped:
      extension_ = Extension::kQuoted;
      return static_cast<unsigned char>(c) >= 0x20 || c == '\t';
    case Extension::kAfterQuoted:
      if (c == ';') extension_ = Extension::kName;
      return c == ';' || (!request_ && (c == ' ' || c == '\t'));
  }
  return false;
}

void MessageReader::end_message(const std::uint8_t* after) {
  state_ = close_ ? State::kClosed : State::kStart;
  events_.on_end(*this, pos_of(after));
  // A connection may be idle for hours: it does not keep the memory of a large head.
  fields().clear();
  trailers_.clear();
  if (line_.capacity() > 1024) std::string().swap(line_);
}

bool MessageReader::gap(std::uint64_t bytes) {
  if (state_ == State::kTunnel || state_ == State::kUntilEnd) return true;
  // The message's end must stay ahead: a hole that touches it leaves nothing to end the message with.
  const bool inside = state_ == State::kBody || state_ == State::kChunkData;
  if (inside && bytes != 0 && bytes < remaining_) {
    remaining_ -= bytes;
    return true;
  }
  begin_sync();
  return false;
}

bool MessageReader::finish() {
  const bool ended = state_ == State::kUntilEnd;
  state_ = State::kClosed;
  return ended;
}

void MessageReader::begin_sync() {
  state_ = State::kSync;
  tentative_ = false;
  line_.clear();
}

void MessageReader::invalid(std::string_view why) {
  const bool report = !tentative_;
  if (report) events_.on_invalid(*this, why);
  begin_sync();
}

ParseState sniff_request(std::span<const std::uint8_t> bytes) {
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::size_t begin = std::min(all.find_first_not_of("\r\n"), all.size());
  const std::string_view text = all.substr(begin);
  if (text.starts_with("PRI * ")) return ParseState::kInvalid;
  for (const std::string_view method : kMethods) {
    if (text.starts_with(method) && text.size() > method.size() && text[method.size()] == ' ') return ParseState::kDone;
    if (text.size() <= method.size() && method.starts_with(text)) return ParseState::kNeedMore;
  }
  // Any other token in capitals (PROPFIND, …) needs its whole line.
  const std::size_t space = text.find(' ');
  const std::string_view method = text.substr(0, space);
  if (method.size() > 20) return ParseState::kInvalid;
  for (const char c : method) {
    if ((c < 'A' || c > 'Z') && c != '-') return ParseState::kInvalid;
  }
  const std::size_t line = text.find('\n');
  if (line == std::string_view::npos)
    return text.size() < kSyncLineBytes ? ParseState::kNeedMore : ParseState::kInvalid;
  std::string_view first = text.substr(0, line);
  if (first.ends_with('\r')) first.remove_suffix(1);
  return first.ends_with(" HTTP/1.1") || first.ends_with(" HTTP/1.0") ? ParseState::kDone : ParseState::kInvalid;
}

ParseState sniff_response(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kStart = "HTTP/1.";
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.size() < kStart.size()) return kStart.starts_with(text) ? ParseState::kNeedMore : ParseState::kInvalid;
  return text.starts_with(kStart) ? ParseState::kDone : ParseState::kInvalid;
}

}  // namespace penstock::parsers::wire::http1
