#include "userspace/ledger/window.h"

#include <gtest/gtest.h>
#include <time.h>

#include <cstdlib>

namespace penstock::ledger {
namespace {

std::int64_t utc(int year, int month, int day, int hour = 0, int minute = 0) {
  return days_from_civil(year, month, day) * 86'400 + hour * 3600 + minute * 60;
}

TimeZone zone(std::string_view name) {
  auto z = TimeZone::load(name);
  EXPECT_TRUE(z.has_value()) << name << ": " << z.error().message();
  return std::move(z).value();
}

Window window(std::string_view text, std::string_view tz = {}) {
  auto w = Window::parse(text, tz);
  EXPECT_TRUE(w.has_value()) << text << ": " << w.error().message();
  return std::move(w).value();
}

TEST(Calendar, CivilDaysRoundTrip) {
  EXPECT_EQ(days_from_civil(1970, 1, 1), 0);
  EXPECT_EQ(days_from_civil(2000, 2, 29), 11'016);
  EXPECT_EQ(days_from_civil(1969, 12, 31), -1);
  for (std::int64_t d = -800'000; d < 800'000; d += 37) {
    const CivilDate c = civil_from_days(d);
    EXPECT_EQ(days_from_civil(c.year, c.month, c.day), d);
  }
}

// The C library is the reference: same database, other code.
TEST(TimeZone, AgreesWithTheCLibrary) {
  for (const char* name : {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Havana",
                           "Africa/Casablanca", "America/Santiago", "Pacific/Apia", "Europe/Dublin", "Asia/Tehran",
                           "America/St_Johns", "Antarctica/Troll"}) {
    const TimeZone z = zone(name);
    ::setenv("TZ", name, 1);
    ::tzset();
    for (std::int64_t t = utc(1965, 1, 1); t < utc(2060, 1, 1); t += 6 * 3600 - 7) {
      const time_t at = t;
      tm local{};
      ::localtime_r(&at, &local);
      ASSERT_EQ(z.offset_at(t), local.tm_gmtoff) << name << " " << t;
    }
    for (std::int64_t t = utc(1990, 1, 1); t < utc(2055, 1, 1);) {
      const auto next = z.next_change(t);
      if (!next) break;
      EXPECT_NE(z.offset_at(*next - 1), z.offset_at(*next)) << name << " " << *next;
      t = *next;
    }
  }
  ::setenv("TZ", "UTC", 1);
  ::tzset();
}

TEST(TimeZone, RefusesNamesThatAreNone) {
  for (const char* name : {"../../etc/passwd", "/etc/localtime", "No/Such", "Europe", "Eu rope", "tzdata.zi\n"})
    EXPECT_FALSE(TimeZone::load(name).has_value()) << name;
}

TEST(TimeZone, MalformedFilesAreErrors) {
  EXPECT_FALSE(TimeZone::parse("x", "").has_value());
  EXPECT_FALSE(TimeZone::parse("x", "TZif").has_value());
  std::string file(44, '\0');
  file.replace(0, 5, "TZif2");
  EXPECT_FALSE(TimeZone::parse("x", file).has_value());
  file.assign(200, '\xff');
  file.replace(0, 5, "TZif2");
  EXPECT_FALSE(TimeZone::parse("x", file).has_value());
}

TEST(Window, DayWithTwentyThreeAndTwentyFiveHours) {
  const Window day = window("1d", "Europe/Berlin");
  auto spring = day.span_at(utc(2026, 3, 29, 12));
  EXPECT_EQ(spring.start_s, utc(2026, 3, 28, 23));
  EXPECT_EQ(spring.end_s, utc(2026, 3, 29, 22));
  auto autumn = day.span_at(utc(2026, 10, 25, 12));
  EXPECT_EQ(autumn.start_s, utc(2026, 10, 24, 22));
  EXPECT_EQ(autumn.end_s, utc(2026, 10, 25, 23));
}

TEST(Window, MidnightThatDoesNotExistOrComesTwice) {
  // Havana leaves winter time at midnight: 2026-03-08 begins at 01:00. It falls back at 01:00 to 00:00: midnight twice.
  const Window day = window("1d", "America/Havana");
  auto spring = day.span_at(utc(2026, 3, 8, 12));
  EXPECT_EQ(spring.start_s, utc(2026, 3, 8, 5));
  EXPECT_EQ(spring.end_s - spring.start_s, 23 * 3600);
  auto autumn = day.span_at(utc(2026, 11, 1, 12));
  EXPECT_EQ(autumn.start_s, utc(2026, 11, 1, 4));
  EXPECT_EQ(autumn.end_s - autumn.start_s, 25 * 3600);
  EXPECT_EQ(day.span_at(utc(2026, 11, 1, 5, 30)).start_s, autumn.start_s);
  // Santiago falls back at 24:00 to 23:00: the hour before midnight comes twice and belongs to the old day.
  const Window chile = window("1d", "America/Santiago");
  auto april = chile.span_at(utc(2026, 4, 5, 3, 30));
  EXPECT_EQ(april.end_s, utc(2026, 4, 5, 4));
  EXPECT_EQ(april.end_s - april.start_s, 25 * 3600);
}

TEST(Window, WindowsTileTime) {
  for (const char* tz :
       {"Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia", "UTC", "Asia/Kathmandu"}) {
    for (const char* text : {"15m", "1h", "6h", "1d", "1w", "30d", "1mo", "3mo"}) {
      const Window w = window(text, tz);
      std::int64_t t = utc(2011, 12, 1);
      for (int i = 0; i < 300; ++i) {
        const auto span = w.span_at(t);
        ASSERT_LE(span.start_s, t) << tz << " " << text;
        ASSERT_GT(span.end_s, t) << tz << " " << text;
        ASSERT_EQ(w.span_at(span.end_s).start_s, span.end_s) << tz << " " << text;
        ASSERT_EQ(w.span_at(span.end_s - 1).start_s, span.start_s) << tz << " " << text;
        t = span.end_s;
      }
    }
  }
}

TEST(Window, Months) {
  const Window month = window("1mo", "America/New_York");
  auto march = month.span_at(utc(2026, 3, 15));
  EXPECT_EQ(march.start_s, utc(2026, 3, 1, 5));
  EXPECT_EQ(march.end_s, utc(2026, 4, 1, 4));
  EXPECT_EQ(window("1w").span_at(utc(2026, 8, 21)).start_s, utc(2026, 8, 17));  // a Monday
  EXPECT_EQ(window("7d").span_at(utc(2026, 8, 21)).start_s, utc(2026, 8, 17));
}

TEST(Window, Spelling) {
  EXPECT_EQ(window("").kind(), WindowKind::kLifetime);
  EXPECT_EQ(window("60s rolling").rolling_ns(), 60'000'000'000U);
  EXPECT_EQ(window(" 60s  rolling ").text(), "60s rolling");
  EXPECT_EQ(window("1d", "Europe/Berlin").text(), "1d Europe/Berlin");
  EXPECT_EQ(window("1d").text(), "1d");
  for (const char* bad :
       {"0d", "d", "1", "1y", "7h", "25h", "1d roling", "1mo rolling", "99999999999999999999d", "-1d", "100w rolling"})
    EXPECT_FALSE(Window::parse(bad).has_value()) << bad;
  EXPECT_FALSE(Window::parse("60s rolling", "Europe/Berlin").has_value());
  EXPECT_FALSE(Window::parse("", "Europe/Berlin").has_value());
  EXPECT_FALSE(Window::parse("1d", "Mars/Base").has_value());
}

}  // namespace
}  // namespace penstock::ledger
