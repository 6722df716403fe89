#include "userspace/ledger/window.h"

#include <fmt/format.h>

#include <limits>

namespace penstock::ledger {
namespace {

constexpr std::int64_t kDay = 86'400;
constexpr std::int64_t kMonday = 4;  // days from 1970-01-01 to Monday 1970-01-05
constexpr std::int64_t kMaxRollingSeconds = 31 * kDay;
constexpr std::int64_t kMaxDays = 3660;
constexpr std::int64_t kMaxMonths = 120;

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

base::Error bad(std::string_view text, std::string_view why) {
  return {base::ErrorCode::kUsage, 0, fmt::format("window \"{}\": {}", text, why),
          "use 15m, 1h, 1d, 1w, 30d, 1mo, or a rolling window such as \"60s rolling\""};
}

}  // namespace

base::Result<Window> Window::parse(std::string_view text, std::string_view tz) {
  Window window;
  std::string_view rest = trim(text);
  if (rest.empty()) {
    if (!tz.empty()) return bad(text, "a time zone needs a calendar window");
    return window;
  }
  std::int64_t count = 0;
  std::size_t digits = 0;
  while (digits < rest.size() && rest[digits] >= '0' && rest[digits] <= '9' && count < 1'000'000'000)
    count = count * 10 + (rest[digits++] - '0');
  if (digits == 0 || count == 0) return bad(text, "expected a positive number and a unit");
  rest.remove_prefix(digits);
  const auto space = rest.find_first_of(" \t");
  const std::string_view unit = rest.substr(0, space);
  const std::string_view kind = space == std::string_view::npos ? std::string_view{} : trim(rest.substr(space));
  if (!kind.empty() && kind != "rolling") return bad(text, "expected nothing or \"rolling\" after the length");

  std::int64_t seconds = 0;
  if (unit == "s")
    seconds = 1;
  else if (unit == "m")
    seconds = 60;
  else if (unit == "h")
    seconds = 3600;
  else if (unit == "d")
    seconds = kDay;
  else if (unit == "w")
    seconds = 7 * kDay;
  else if (unit != "mo")
    return bad(text, "unknown unit");

  if (kind == "rolling") {
    if (seconds == 0) return bad(text, "months cannot roll; use days");
    if (!tz.empty()) return bad(text, "a rolling window has no time zone");
    if (count > kMaxRollingSeconds / seconds) return bad(text, "longer than 31 days");
    window.kind_ = WindowKind::kRolling;
    window.rolling_ns_ = static_cast<std::uint64_t>(count * seconds) * 1'000'000'000U;
    window.text_ = fmt::format("{}{} rolling", count, unit);
    return window;
  }

  PN_TRY(auto zone, TimeZone::load(tz));
  window.kind_ = WindowKind::kCalendar;
  if (seconds == 0) {
    if (count > kMaxMonths) return bad(text, "longer than 120 months");
    window.months_ = count;
  } else if (seconds >= kDay) {
    if (count > kMaxDays / (seconds / kDay)) return bad(text, "longer than 3660 days");
    window.days_ = count * (seconds / kDay);
  } else {
    if (count > kDay / seconds || kDay % (count * seconds) != 0)
      return bad(text, "shorter than a day it must divide the day evenly");
    if (count * seconds == kDay)
      window.days_ = 1;
    else
      window.seconds_ = count * seconds;
  }
  window.text_ =
      zone.name() == "UTC" ? fmt::format("{}{}", count, unit) : fmt::format("{}{} {}", count, unit, zone.name());
  window.zone_ = std::make_shared<const TimeZone>(std::move(zone));
  return window;
}

std::int64_t Window::day_start(std::int64_t days) const { return zone_->first_instant(days * kDay); }

WindowSpan Window::span_at(std::int64_t unix_s) const {
  if (kind_ != WindowKind::kCalendar)
    return {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()};
  std::int64_t today = floor_div(unix_s + zone_->offset_at(unix_s), kDay);
  // Where the clock goes back over midnight the date repeats, but the new day has begun.
  while (day_start(today + 1) <= unix_s) ++today;

  if (seconds_ > 0) {
    const std::int64_t start = day_start(today);
    const std::int64_t end = day_start(today + 1);
    const std::int64_t begin = start + (unix_s - start) / seconds_ * seconds_;
    return {begin, std::min(begin + seconds_, end)};  // a day of 23 or 25 hours ends the last window early
  }
  if (days_ > 0) {
    const std::int64_t first = floor_div(today - kMonday, days_) * days_ + kMonday;
    return {day_start(first), day_start(first + days_)};
  }
  const CivilDate date = civil_from_days(today);
  const std::int64_t month = floor_div(date.year * 12 + date.month - 1, months_) * months_;
  const auto month_start = [&](std::int64_t m) {
    return day_start(days_from_civil(floor_div(m, 12), static_cast<int>(m - floor_div(m, 12) * 12) + 1, 1));
  };
  return {month_start(month), month_start(month + months_)};
}

}  // namespace penstock::ledger
