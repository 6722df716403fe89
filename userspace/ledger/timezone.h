// Time zones from the system's compiled database (TZif, RFC 8536), read once into an immutable value: local time of any
// instant without the process-wide TZ variable, so several zones can be used side by side and from any thread.
// Failure: an unknown name, an unreadable or malformed file. "UTC" needs no file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/base/result.h"

namespace penstock::ledger {

class TimeZone {
 public:
  // IANA name ("Europe/Berlin"); empty means UTC. Names that would leave `directory` are refused.
  static base::Result<TimeZone> load(std::string_view name, std::string_view directory = "/usr/share/zoneinfo");
  // Bytes of a TZif file, for tests and for embedding.
  static base::Result<TimeZone> parse(std::string_view name, std::string_view tzif);
  static TimeZone utc();

  const std::string& name() const { return name_; }
  // Seconds to add to UTC for local time at this instant (Unix seconds).
  std::int32_t offset_at(std::int64_t unix_s) const;
  // First instant at which the offset changes after `unix_s`; nullopt: never again.
  std::optional<std::int64_t> next_change(std::int64_t unix_s) const;
  // First instant whose local time is `local_s` (local seconds since 1970-01-01T00:00) or later: the start of a local
  // day even where midnight is skipped or comes twice.
  std::int64_t first_instant(std::int64_t local_s) const;

 private:
  struct Change {
    std::int64_t at_s;
    std::int32_t offset_s;
  };
  // The rule for the time after the table (POSIX TZ string of the file's footer).
  struct RuleDate {
    int kind = 0;  // 'M' month.week.day, 'J' Julian without 29 February, 'N' zero-based day
    int month = 0, week = 0, day = 0;
    std::int32_t time_s = 2 * 3600;
  };
  struct Footer {
    std::int32_t standard_s = 0;
    std::int32_t daylight_s = 0;
    bool has_daylight = false;
    RuleDate start;
    RuleDate end;
  };
  static base::Result<Footer> parse_footer(std::string_view text);
  static std::int64_t rule_instant(const RuleDate& rule, std::int64_t year, std::int32_t offset_before_s);
  std::int32_t footer_offset(std::int64_t unix_s) const;
  std::optional<std::int64_t> footer_next(std::int64_t unix_s) const;

  std::string name_ = "UTC";
  std::int32_t first_offset_s_ = 0;  // before the first change
  std::vector<Change> changes_;      // ascending
  std::optional<Footer> footer_;
};

// Proleptic Gregorian calendar: days since 1970-01-01.
std::int64_t days_from_civil(std::int64_t year, int month, int day);
struct CivilDate {
  std::int64_t year;
  int month;
  int day;
};
CivilDate civil_from_days(std::int64_t days);

}  // namespace penstock::ledger
