// The human spellings of numbers in files and on the command line, and back. Parsing is exact and strict: nothing is
// rounded, nothing is trimmed, an overflow is refused. nullopt means "not that". Money is spelled in model/money.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "userspace/api/schema.pb.h"

namespace penstock::api {

std::optional<std::uint64_t> parse_count(std::string_view text);        // 1500 · 200k · 1.5M · 2G
std::optional<std::uint64_t> parse_duration_ns(std::string_view text);  // 250ms · 60s · 1h30m · 1d · 2w
std::optional<std::uint32_t> parse_permille(std::string_view text);     // 80% · 12.5%
std::optional<std::uint64_t> parse_bytes(std::string_view text);        // 4096 · 64KiB · 8MiB · 1GiB
std::optional<Window> parse_window(std::string_view text);              // 1d · 1mo · 60s rolling · 1h calendar
std::optional<Rate> parse_rate(std::string_view text);                  // 5 in 60s

std::string format_count(std::uint64_t count);
std::string format_duration_ns(std::uint64_t ns);
std::string format_permille(std::uint32_t permille);
std::string format_bytes(std::uint64_t bytes);
std::string format_window(const Window& window);
std::string format_rate(const Rate& rate);

// What a value of this spelling looks like, for messages: "a duration such as 250ms, 60s, 10m or 1d".
std::string_view expectation(Spelling spelling);

}  // namespace penstock::api
