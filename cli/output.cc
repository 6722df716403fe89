#include "cli/output.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <ctime>

#include "userspace/api/spelling.h"

namespace penstock::cli {
namespace {

base::Error usage(std::string what, std::string hint) {
  return base::Error{base::ErrorCode::kUsage, 0, std::move(what), std::move(hint)};
}

}  // namespace

std::string short_count(std::uint64_t n) {
  static constexpr char kUnits[] = {'k', 'M', 'G', 'T', 'P', 'E'};
  if (n < 1000) return fmt::to_string(n);
  std::uint64_t scale = 1000;
  std::size_t unit = 0;
  while (n / scale >= 1000) {
    scale *= 1000;
    ++unit;
  }
  const std::uint64_t whole = n / scale, thousandths = n % scale / (scale / 1000);
  if (whole >= 100) return fmt::format("{}{}", whole, kUnits[unit]);
  if (whole >= 10) return fmt::format("{}.{}{}", whole, thousandths / 100, kUnits[unit]);
  return fmt::format("{}.{:02}{}", whole, thousandths / 10, kUnits[unit]);
}

std::string long_count(std::uint64_t n) {
  const std::string digits = fmt::to_string(n);
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string short_usd(std::int64_t nano_usd) {
  const bool negative = nano_usd < 0;
  const std::uint64_t n = negative ? 0 - static_cast<std::uint64_t>(nano_usd) : static_cast<std::uint64_t>(nano_usd);
  if (n == 0) return "$0.00";
  if (n < 50'000) return negative ? "-<$0.0001" : "<$0.0001";
  const std::uint64_t unit = n < 1'000'000'000 ? 100'000 : 10'000'000;  // four decimals below a dollar, two above
  const std::uint64_t rounded = (n + unit / 2) / unit;
  const std::uint64_t per_dollar = 1'000'000'000 / unit;
  return unit == 100'000
             ? fmt::format("{}${}.{:04}", negative ? "-" : "", rounded / per_dollar, rounded % per_dollar)
             : fmt::format("{}${}.{:02}", negative ? "-" : "", long_count(rounded / per_dollar), rounded % per_dollar);
}

std::string duration(std::uint64_t ns) {
  const std::uint64_t ms = ns / 1'000'000, s = ms / 1000, min = s / 60, h = min / 60;
  if (ns < 1'000'000) return fmt::format("{} µs", ns / 1000);
  if (ms < 1000) return fmt::format("{} ms", ms);
  if (s < 60) return fmt::format("{}.{} s", s, ms % 1000 / 100);
  if (min < 60) return fmt::format("{} min {} s", min, s % 60);
  if (h < 24) return fmt::format("{} h {} min", h, min % 60);
  return fmt::format("{} d {} h", h / 24, h % 24);
}

std::string clock_time(std::int64_t real_ns) {
  const std::time_t seconds = real_ns / 1'000'000'000;
  std::tm local{};
  char text[16];
  if (::localtime_r(&seconds, &local) == nullptr || std::strftime(text, sizeof text, "%H:%M:%S", &local) == 0)
    return kUnknown;
  return text;
}

std::string percent(std::int64_t part, std::int64_t whole) {
  if (whole <= 0) return kUnknown;
  const auto ratio = static_cast<model::Int128>(part) * 100 / whole;
  return fmt::format("{}%", static_cast<std::int64_t>(ratio));
}

std::string tokens_in(const api::Totals& t) { return known(t.has_input_tokens(), t.input_tokens(), short_count); }
std::string tokens_out(const api::Totals& t) { return known(t.has_output_tokens(), t.output_tokens(), short_count); }
std::string tokens_cached(const api::Totals& t) {
  return known(t.has_cache_read_tokens(), t.cache_read_tokens(), short_count);
}

std::string cost(const api::Totals& t) {
  if (!t.has_cost_nano_usd()) return kUnknown;
  std::string out = t.estimated_calls() > 0 ? "~" : "";
  out += short_usd(t.cost_nano_usd());
  if (t.unpriced_calls() > 0) out += "+?";
  return out;
}

std::string losses(const api::Losses& l) {
  std::string out;
  const auto add = [&](std::uint64_t n, std::string_view what) {
    if (n > 0) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", long_count(n), what);
  };
  add(l.events_lost(), "events");
  add(l.gaps(), "gaps");
  add(l.lost_bytes(), "bytes");
  add(l.bpf_errors(), "kernel errors");
  add(l.parse_errors(), "unreadable parts");
  add(l.exports_dropped(), "exports");
  add(l.incomplete_exchanges(), "incomplete exchanges");
  return out;
}

bool color_on(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  return (no_color == nullptr || *no_color == '\0') && ::isatty(fd) != 0;
}

std::size_t terminal_width(int fd) {
  if (const char* columns = std::getenv("COLUMNS"); columns != nullptr) {
    std::size_t n = 0;
    const std::string_view text(columns);
    if (std::from_chars(text.data(), text.data() + text.size(), n).ec == std::errc() && n >= 20) return n;
  }
  winsize size{};
  if (::isatty(fd) != 0 && ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
  return 0;
}

base::Result<std::uint64_t> parse_number(std::string_view text) {
  if (const auto n = api::parse_count(text)) return *n;
  return usage(fmt::format("\"{}\" is not a number", text), "write 1500, 200k or 2M");
}

base::Result<model::NanoUsd> parse_money(std::string_view text) {
  const auto amount = model::parse_usd(text);
  if (!amount || amount->value < 0)
    return usage(fmt::format("\"{}\" is not an amount in dollars", text), "write 2, 0.50 or $12.50");
  return *amount;
}

}  // namespace penstock::cli
