#include "userspace/api/spelling.h"

#include <array>
#include <limits>
#include <utility>

#include "userspace/model/money.h"

namespace penstock::api {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::optional<std::uint64_t> narrow(model::Int128 value) {
  if (value < 0 || value > static_cast<model::Int128>(kMax)) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}

std::optional<std::uint64_t> multiply(std::uint64_t a, std::uint64_t b) {
  if (a != 0 && b > kMax / a) return std::nullopt;
  return a * b;
}

// Takes leading digits off `text`; nullopt without any, or on overflow.
std::optional<std::uint64_t> take_digits(std::string_view& text) {
  std::size_t n = 0;
  model::Int128 value = 0;
  while (n < text.size() && is_digit(text[n])) {
    value = value * 10 + (text[n] - '0');
    if (value > static_cast<model::Int128>(kMax)) return std::nullopt;
    ++n;
  }
  if (n == 0) return std::nullopt;
  text.remove_prefix(n);
  return static_cast<std::uint64_t>(value);
}

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// Largest first: the order in which format_* looks for one that divides.
constexpr std::array<Unit, 3> kCounts{{{"G", 1'000'000'000}, {"M", 1'000'000}, {"k", 1'000}}};
constexpr std::array<Unit, 3> kBytes{{{"GiB", 1ULL << 30}, {"MiB", 1ULL << 20}, {"KiB", 1ULL << 10}}};
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::array<Unit, 8> kDurations{{{"w", 7 * 86'400 * kSecond},
                                          {"d", 86'400 * kSecond},
                                          {"h", 3'600 * kSecond},
                                          {"m", 60 * kSecond},
                                          {"s", kSecond},
                                          {"ms", 1'000'000},
                                          {"us", 1'000},
                                          {"ns", 1}}};

struct WindowUnit {
  std::string_view name;
  Window::Unit unit;
};
constexpr std::array<WindowUnit, 6> kWindowUnits{{{"s", Window::UNIT_SECOND},
                                                  {"m", Window::UNIT_MINUTE},
                                                  {"h", Window::UNIT_HOUR},
                                                  {"d", Window::UNIT_DAY},
                                                  {"w", Window::UNIT_WEEK},
                                                  {"mo", Window::UNIT_MONTH}}};

template <std::size_t N>
std::string with_unit(std::uint64_t value, const std::array<Unit, N>& units) {
  for (const Unit& unit : units)
    if (value != 0 && value % unit.factor == 0) return std::to_string(value / unit.factor) + std::string(unit.name);
  return std::to_string(value);
}

}  // namespace

std::optional<std::uint64_t> parse_count(std::string_view text) {
  auto whole = take_digits(text);
  if (!whole) return std::nullopt;
  std::uint64_t fraction = 0;
  std::uint64_t fraction_unit = 1;
  if (!text.empty() && text.front() == '.') {
    text.remove_prefix(1);
    if (text.empty() || !is_digit(text.front())) return std::nullopt;
    while (!text.empty() && is_digit(text.front())) {
      if (fraction_unit >= 1'000'000'000) return std::nullopt;
      fraction = fraction * 10 + static_cast<std::uint64_t>(text.front() - '0');
      fraction_unit *= 10;
      text.remove_prefix(1);
    }
  }
  if (text.empty()) return fraction_unit == 1 ? whole : std::nullopt;
  for (const Unit& unit : kCounts) {
    if (text != unit.name) continue;
    if (unit.factor % fraction_unit != 0) return std::nullopt;
    return narrow(static_cast<model::Int128>(*whole) * unit.factor + fraction * (unit.factor / fraction_unit));
  }
  return std::nullopt;
}

std::optional<std::uint64_t> parse_duration_ns(std::string_view text) {
  if (text.empty()) return std::nullopt;
  std::uint64_t total = 0;
  std::uint64_t below = kMax;  // units must get smaller: 1h30m, never 30m1h or 1h1h
  while (!text.empty()) {
    auto value = take_digits(text);
    if (!value) return std::nullopt;
    std::size_t n = 0;
    while (n < text.size() && !is_digit(text[n])) ++n;
    const Unit* found = nullptr;
    for (const Unit& unit : kDurations)
      if (unit.name == text.substr(0, n)) found = &unit;
    if (found == nullptr || found->factor >= below) return std::nullopt;
    below = found->factor;
    auto part = multiply(*value, found->factor);
    if (!part || *part > kMax - total) return std::nullopt;
    total += *part;
    text.remove_prefix(n);
  }
  return total;
}

std::optional<std::uint32_t> parse_permille(std::string_view text) {
  auto whole = take_digits(text);
  if (!whole || *whole > 1'000'000) return std::nullopt;
  std::uint64_t permille = *whole * 10;
  if (text.size() > 1 && text.front() == '.' && is_digit(text[1])) {
    permille += static_cast<std::uint64_t>(text[1] - '0');
    text.remove_prefix(2);
  }
  if (text != "%") return std::nullopt;
  return static_cast<std::uint32_t>(permille);
}

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  auto value = take_digits(text);
  if (!value || text.empty()) return value;
  for (const Unit& unit : kBytes)
    if (text == unit.name) return multiply(*value, unit.factor);
  return std::nullopt;
}

std::optional<Window> parse_window(std::string_view text) {
  auto count = take_digits(text);
  if (!count || *count == 0 || *count > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  const std::size_t end = text.find(' ');
  const std::string_view unit_name = text.substr(0, end);
  const std::string_view suffix = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  if (end != std::string_view::npos && suffix != "rolling" && suffix != "calendar") return std::nullopt;
  for (const WindowUnit& unit : kWindowUnits) {
    if (unit.name != unit_name) continue;
    Window window;
    window.set_count(static_cast<std::uint32_t>(*count));
    window.set_unit(unit.unit);
    window.set_rolling(suffix == "rolling");
    return window;
  }
  return std::nullopt;
}

std::optional<Rate> parse_rate(std::string_view text) {
  constexpr std::string_view kIn = " in ";
  auto count = take_digits(text);
  if (!count || *count > std::numeric_limits<std::uint32_t>::max() || !text.starts_with(kIn)) return std::nullopt;
  text.remove_prefix(kIn.size());
  auto within = parse_duration_ns(text);
  if (!within || *within == 0) return std::nullopt;
  Rate rate;
  rate.set_count(static_cast<std::uint32_t>(*count));
  rate.set_within_ns(*within);
  return rate;
}

std::string format_count(std::uint64_t count) { return with_unit(count, kCounts); }
std::string format_bytes(std::uint64_t bytes) { return with_unit(bytes, kBytes); }

std::string format_duration_ns(std::uint64_t ns) {
  if (ns == 0) return "0s";
  return with_unit(ns, kDurations);  // "ns" divides everything
}

std::string format_permille(std::uint32_t permille) {
  std::string text = std::to_string(permille / 10);
  if (permille % 10 != 0) text += "." + std::to_string(permille % 10);
  return text + "%";
}

std::string format_window(const Window& window) {
  std::string text = std::to_string(window.count());
  for (const WindowUnit& unit : kWindowUnits)
    if (unit.unit == window.unit()) text += unit.name;
  return window.rolling() ? text + " rolling" : text;
}

std::string format_rate(const Rate& rate) {
  return std::to_string(rate.count()) + " in " + format_duration_ns(rate.within_ns());
}

std::string_view expectation(Spelling spelling) {
  switch (spelling) {
    case SPELLING_USD:
      return "an amount in US dollars such as 25 or 0.50";
    case SPELLING_COUNT:
      return "a number such as 1500, 200k or 2M";
    case SPELLING_DURATION:
      return "a duration such as 250ms, 60s, 10m or 1d";
    case SPELLING_PERCENT:
      return "a percentage such as 80% or 12.5%";
    case SPELLING_BYTES:
      return "a size such as 4096, 64KiB or 8MiB";
    case SPELLING_WINDOW:
      return "a window such as 1d, 1w, 1mo or 60s rolling";
    case SPELLING_RATE:
      return "a rate such as 5 in 60s";
    default:
      return "a value";
  }
}

}  // namespace penstock::api
