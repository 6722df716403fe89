// How figures are written for people. Unknown is "–", never 0. Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "userspace/api/control.pb.h"
#include "userspace/base/result.h"
#include "userspace/model/money.h"

namespace penstock::cli {

inline constexpr char kUnknown[] = "–";

// 999, 12.3k, 4.56M
std::string short_count(std::uint64_t n);
// 1,234,567
std::string long_count(std::uint64_t n);
// "$0.0312", "$12.50", "<$0.0001": rounded to what people read; json has the exact figure.
std::string short_usd(std::int64_t nano_usd);
// 850 ms, 12.3 s, 4 min 10 s, 3 h 5 min, 2 d 4 h
std::string duration(std::uint64_t ns);
std::string clock_time(std::int64_t real_ns);  // local time, HH:MM:SS
std::string percent(std::int64_t part, std::int64_t whole);

template <class T, class Show>
std::string known(bool has, T value, Show show) {
  return has ? show(value) : kUnknown;
}

std::string tokens_in(const api::Totals& t);
std::string tokens_out(const api::Totals& t);
std::string tokens_cached(const api::Totals& t);
std::string cost(const api::Totals& t);  // "~" before estimates, "+?" after a sum with unpriced calls
// "3 events, 120 bytes, …"; "" when nothing was lost.
std::string losses(const api::Losses& l);

bool color_on(int fd);               // a terminal, and no NO_COLOR
std::size_t terminal_width(int fd);  // COLUMNS, else the terminal's; 0: no terminal, no limit

base::Result<std::uint64_t> parse_number(std::string_view text);
base::Result<model::NanoUsd> parse_money(std::string_view text);

}  // namespace penstock::cli
