// Budget windows. Three kinds:
//   lifetime            never returns (empty text)
//   calendar `15m 1h 1d 1w 30d 1mo`   aligned to the local calendar of a time zone: hours and shorter start at local
//                       midnight, days are counted from Monday 1970-01-05 (so `7d` = `1w` starts on Monday), months on
//                       the 1st
//   rolling  `60s rolling`            the last 60 seconds, whenever they are
// Values are immutable and safe to share between threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "userspace/base/result.h"
#include "userspace/ledger/timezone.h"

namespace penstock::ledger {

enum class WindowKind : std::uint8_t { kLifetime, kCalendar, kRolling };

struct WindowSpan {
  std::int64_t start_s;  // Unix seconds, inclusive
  std::int64_t end_s;    // exclusive
};

class Window {
 public:
  Window() = default;  // lifetime
  // `text` as in a policy file; `tz` an IANA name, only for calendar windows; empty: UTC.
  static base::Result<Window> parse(std::string_view text, std::string_view tz = {});

  WindowKind kind() const { return kind_; }
  // Canonical spelling, "" for lifetime: part of a budget's identity.
  const std::string& text() const { return text_; }
  // Length of a rolling window, nanoseconds; 0 otherwise.
  std::uint64_t rolling_ns() const { return rolling_ns_; }
  // The calendar window that holds this instant.
  WindowSpan span_at(std::int64_t unix_s) const;

 private:
  std::int64_t day_start(std::int64_t days) const;

  WindowKind kind_ = WindowKind::kLifetime;
  std::string text_;
  std::uint64_t rolling_ns_ = 0;
  std::int64_t seconds_ = 0;  // calendar, shorter than a day
  std::int64_t days_ = 0;     // calendar, whole days
  std::int64_t months_ = 0;   // calendar, whole months
  std::shared_ptr<const TimeZone> zone_;
};

}  // namespace penstock::ledger
