#include "userspace/ledger/timezone.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "userspace/base/fd.h"

namespace penstock::ledger {
namespace {

constexpr std::size_t kMaxFileBytes = 256 * 1024;  // the largest zone today has 4 KiB
constexpr std::int64_t kDay = 86'400;
constexpr std::int64_t kMaxOffset = 26 * 3600;  // RFC 8536 §3.2: offsets lie within a day and a bit

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }

base::Error malformed(std::string_view name, std::string_view what) {
  return {base::ErrorCode::kUsage, 0, "time zone " + std::string(name) + ": " + std::string(what), {}};
}

// Big-endian reader over a TZif file; every read is checked by the caller through ok().
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  std::string_view take(std::size_t n) {
    if (n > bytes_.size()) {
      ok_ = false;
      return {};
    }
    auto out = bytes_.substr(0, n);
    bytes_.remove_prefix(n);
    return out;
  }
  std::uint64_t number(std::size_t n) {
    std::uint64_t value = 0;
    for (char c : take(n)) value = value << 8 | static_cast<std::uint8_t>(c);
    return value;
  }
  std::int64_t int64() { return static_cast<std::int64_t>(number(8)); }
  std::int32_t int32() { return static_cast<std::int32_t>(static_cast<std::uint32_t>(number(4))); }
  std::uint32_t uint32() { return static_cast<std::uint32_t>(number(4)); }
  std::uint8_t byte() { return static_cast<std::uint8_t>(number(1)); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

struct Header {
  std::uint8_t version = 0;
  std::uint32_t isut = 0, isstd = 0, leap = 0, times = 0, types = 0, chars = 0;
};

std::optional<Header> read_header(Reader& in) {
  if (in.take(4) != "TZif") return std::nullopt;
  Header h;
  h.version = in.byte();
  in.take(15);
  h.isut = in.uint32();
  h.isstd = in.uint32();
  h.leap = in.uint32();
  h.times = in.uint32();
  h.types = in.uint32();
  h.chars = in.uint32();
  if (!in.ok() || h.types == 0 || h.types > 256 || h.times > kMaxFileBytes || h.chars > kMaxFileBytes ||
      h.leap > kMaxFileBytes || h.isut > h.types || h.isstd > h.types)
    return std::nullopt;
  return h;
}

// Pieces of a POSIX TZ string (RFC 8536 §3.3.1).
class Posix {
 public:
  explicit Posix(std::string_view text) : text_(text) {}
  bool done() const { return text_.empty(); }
  bool skip(char c) {
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool abbreviation() {
    if (skip('<')) {
      auto end = text_.find('>');
      if (end == std::string_view::npos) return false;
      text_.remove_prefix(end + 1);
      return true;
    }
    std::size_t n = 0;
    while (n < text_.size() && ((text_[n] | 0x20) >= 'a' && (text_[n] | 0x20) <= 'z')) ++n;
    text_.remove_prefix(n);
    return n >= 3;
  }
  std::optional<int> number(int max) {
    std::size_t n = 0;
    int value = 0;
    while (n < text_.size() && text_[n] >= '0' && text_[n] <= '9') {
      value = value * 10 + (text_[n++] - '0');
      if (value > max) return std::nullopt;
    }
    if (n == 0) return std::nullopt;
    text_.remove_prefix(n);
    return value;
  }
  // [+-]hh[:mm[:ss]]
  std::optional<std::int32_t> time() {
    bool negative = skip('-');
    if (!negative) skip('+');
    auto h = number(167);
    if (!h) return std::nullopt;
    std::int32_t value = *h * 3600;
    for (std::int32_t unit : {60, 1}) {
      if (!skip(':')) break;
      auto part = number(59);
      if (!part) return std::nullopt;
      value += *part * unit;
    }
    return negative ? -value : value;
  }

 private:
  std::string_view text_;
};

}  // namespace

std::int64_t days_from_civil(std::int64_t year, int month, int day) {
  // March-based years: the leap day is the last day of the year, so that month lengths need no table.
  if (month <= 2) --year;
  const std::int64_t era = floor_div(year, 400);
  const std::int64_t year_of_era = year - era * 400;
  const std::int64_t month_from_march = (month + 9) % 12;
  const std::int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
  const std::int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

CivilDate civil_from_days(std::int64_t days) {
  days += 719'468;
  const std::int64_t era = floor_div(days, 146'097);
  const std::int64_t day_of_era = days - era * 146'097;
  const std::int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const int day = static_cast<int>(day_of_year - (153 * month_from_march + 2) / 5 + 1);
  const int month = static_cast<int>(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
  return {year_of_era + era * 400 + (month <= 2 ? 1 : 0), month, day};
}

TimeZone TimeZone::utc() { return {}; }

base::Result<TimeZone> TimeZone::load(std::string_view name, std::string_view directory) {
  if (name.empty() || name == "UTC" || name == "Etc/UTC") return utc();
  // The name comes from a policy file: it must stay inside the directory.
  const bool plain = name.front() != '/' && name.find("..") == std::string_view::npos && name.size() <= 64 &&
                     std::all_of(name.begin(), name.end(), [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' ||
                              c == '_' || c == '-' || c == '+';
                     });
  const std::string_view hint = "use an IANA name such as Europe/Berlin; the tzdata package must be installed";
  if (!plain) return base::Error{base::ErrorCode::kUsage, 0, "unknown time zone", std::string(hint)};
  const std::string path = std::string(directory) + "/" + std::string(name);
  base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    auto error = base::errno_error(errno, "time zone " + std::string(name), hint);
    error.code = base::ErrorCode::kUsage;
    return error;
  }
  std::string bytes(kMaxFileBytes, '\0');
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t n = ::read(fd.get(), bytes.data() + have, bytes.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::errno_error(errno, "read " + path, hint);
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  bytes.resize(have);
  return parse(name, bytes);
}

base::Result<TimeZone> TimeZone::parse(std::string_view name, std::string_view tzif) {
  Reader in(tzif);
  auto header = read_header(in);
  if (!header) return malformed(name, "not a TZif file");
  std::size_t time_bytes = 4;
  if (header->version >= '2') {
    // Version 2 and later repeat everything with 64-bit times; the first block is skipped.
    in.take(std::size_t{header->times} * 5 + std::size_t{header->types} * 6 + header->chars +
            std::size_t{header->leap} * 8 + header->isstd + header->isut);
    if (!in.ok()) return malformed(name, "truncated");
    header = read_header(in);
    if (!header) return malformed(name, "bad second header");
    time_bytes = 8;
  }
  std::vector<std::int64_t> times;
  times.reserve(std::min<std::size_t>(header->times, tzif.size()));
  for (std::uint32_t i = 0; i < header->times && in.ok(); ++i)
    times.push_back(time_bytes == 8 ? in.int64() : std::int64_t{in.int32()});
  const std::string_view indices = in.take(header->times);
  std::vector<std::int32_t> offsets;
  for (std::uint32_t i = 0; i < header->types && in.ok(); ++i) {
    offsets.push_back(in.int32());
    in.take(2);
  }
  in.take(header->chars + std::size_t{header->leap} * (time_bytes + 4) + header->isstd + header->isut);
  if (!in.ok()) return malformed(name, "truncated");

  TimeZone zone;
  zone.name_ = std::string(name);
  for (std::int32_t offset : offsets)
    if (offset < -kMaxOffset || offset > kMaxOffset) return malformed(name, "offset out of range");
  zone.first_offset_s_ = offsets[0];
  std::int32_t current = zone.first_offset_s_;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const auto type = static_cast<std::uint8_t>(indices[i]);
    if (type >= offsets.size() || (i > 0 && times[i] <= times[i - 1])) return malformed(name, "bad transition");
    // The first entry may be the beginning of time; equal offsets (only the abbreviation changes) are no change for us.
    if (offsets[type] != current) zone.changes_.push_back({times[i], offsets[type]});
    current = offsets[type];
  }
  if (time_bytes == 8) {
    if (in.byte() != '\n') return malformed(name, "no footer");
    std::string text;
    for (std::uint8_t c = in.byte(); in.ok() && c != '\n' && text.size() < 128; c = in.byte())
      text.push_back(static_cast<char>(c));
    if (!in.ok()) return malformed(name, "truncated footer");
    if (!text.empty()) {
      PN_TRY(auto footer, parse_footer(text));
      zone.footer_ = footer;
    }
  }
  return zone;
}

base::Result<TimeZone::Footer> TimeZone::parse_footer(std::string_view text) {
  const auto bad = [&] { return malformed(text, "bad rule"); };
  Posix in(text);
  Footer footer;
  if (!in.abbreviation()) return bad();
  auto standard = in.time();
  if (!standard) return bad();
  footer.standard_s = -*standard;  // POSIX counts west of Greenwich positive
  if (in.done()) return footer;
  if (!in.abbreviation()) return bad();
  footer.has_daylight = true;
  footer.daylight_s = footer.standard_s + 3600;
  if (!in.skip(',')) {
    auto daylight = in.time();
    if (!daylight || !in.skip(',')) return bad();
    footer.daylight_s = -*daylight;
  }
  for (RuleDate* rule : {&footer.start, &footer.end}) {
    if (rule == &footer.end && !in.skip(',')) return bad();
    if (in.skip('M')) {
      auto month = in.number(12);
      auto week = month && in.skip('.') ? in.number(5) : std::nullopt;
      auto day = week && in.skip('.') ? in.number(6) : std::nullopt;
      if (!day || *month < 1 || *week < 1) return bad();
      *rule = {'M', *month, *week, *day, 2 * 3600};
    } else {
      const bool julian = in.skip('J');
      auto day = in.number(365);
      if (!day || (julian && *day < 1)) return bad();
      *rule = {julian ? 'J' : 'N', 0, 0, *day, 2 * 3600};
    }
    if (in.skip('/')) {
      auto time = in.time();
      if (!time) return bad();
      rule->time_s = *time;
    }
  }
  if (!in.done()) return bad();
  return footer;
}

std::int64_t TimeZone::rule_instant(const RuleDate& rule, std::int64_t year, std::int32_t offset_before_s) {
  const std::int64_t january = days_from_civil(year, 1, 1);
  std::int64_t day = 0;
  if (rule.kind == 'M') {
    const std::int64_t first = days_from_civil(year, rule.month, 1);
    const std::int64_t next_month =
        rule.month == 12 ? days_from_civil(year + 1, 1, 1) : days_from_civil(year, rule.month + 1, 1);
    const std::int64_t weekday = (first % 7 + 7 + 4) % 7;  // 1970-01-01 was a Thursday
    day = first + (rule.day - weekday + 7) % 7 + (rule.week - 1) * 7;
    if (day >= next_month) day -= 7;  // week 5 means "the last"
  } else if (rule.kind == 'J') {
    const bool leap = days_from_civil(year + 1, 1, 1) - january == 366;
    day = january + rule.day - 1 + (leap && rule.day >= 60 ? 1 : 0);
  } else {
    day = january + rule.day;
  }
  return day * kDay + rule.time_s - offset_before_s;
}

std::int32_t TimeZone::footer_offset(std::int64_t unix_s) const {
  if (!footer_->has_daylight) return footer_->standard_s;
  // Only the last switch at or before the instant counts; looking at the neighbouring years covers both hemispheres and
  // rules that reach over a new year.
  const std::int64_t year = civil_from_days(floor_div(unix_s + footer_->standard_s, kDay)).year;
  std::int64_t best = INT64_MIN;
  std::int32_t offset = footer_->standard_s;
  for (std::int64_t y = year - 1; y <= year + 1; ++y) {
    const std::int64_t start = rule_instant(footer_->start, y, footer_->standard_s);
    const std::int64_t end = rule_instant(footer_->end, y, footer_->daylight_s);
    if (start <= unix_s && start >= best) best = start, offset = footer_->daylight_s;
    if (end <= unix_s && end >= best) best = end, offset = footer_->standard_s;
  }
  return offset;
}

std::optional<std::int64_t> TimeZone::footer_next(std::int64_t unix_s) const {
  if (!footer_ || !footer_->has_daylight) return std::nullopt;
  const std::int64_t year = civil_from_days(floor_div(unix_s + footer_->standard_s, kDay)).year;
  std::optional<std::int64_t> best;
  for (std::int64_t y = year - 1; y <= year + 2; ++y) {
    for (std::int64_t at :
         {rule_instant(footer_->start, y, footer_->standard_s), rule_instant(footer_->end, y, footer_->daylight_s)})
      if (at > unix_s && (!best || at < *best)) best = at;
  }
  return best;
}

std::int32_t TimeZone::offset_at(std::int64_t unix_s) const {
  if (footer_ && (changes_.empty() || unix_s >= changes_.back().at_s)) return footer_offset(unix_s);
  auto after = std::upper_bound(changes_.begin(), changes_.end(), unix_s,
                                [](std::int64_t t, const Change& c) { return t < c.at_s; });
  return after == changes_.begin() ? first_offset_s_ : std::prev(after)->offset_s;
}

std::optional<std::int64_t> TimeZone::next_change(std::int64_t unix_s) const {
  auto after = std::upper_bound(changes_.begin(), changes_.end(), unix_s,
                                [](std::int64_t t, const Change& c) { return t < c.at_s; });
  if (after != changes_.end()) return after->at_s;
  return footer_next(unix_s);
}

std::int64_t TimeZone::first_instant(std::int64_t local_s) const {
  // Walk the stretches of constant offset around the target and take the first that contains local_s or begins after
  // it.
  std::int64_t from = local_s - 2 * kMaxOffset;
  for (;;) {
    const std::int32_t offset = offset_at(from);
    const auto end = next_change(from);
    const std::int64_t candidate = std::max(from, local_s - offset);
    if (!end || candidate < *end) return candidate;
    from = *end;
  }
}

}  // namespace penstock::ledger
