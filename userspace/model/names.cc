#include "userspace/model/names.h"

#include <array>

#include "userspace/base/result.h"

namespace penstock::model {
namespace {

constexpr std::array<std::string_view, 4> kKinds{"http", "llm", "mcp", "a2a"};
constexpr std::array<std::string_view, 4> kUsage{"unknown", "exact", "estimated", "incomplete"};
constexpr std::array<std::string_view, 4> kPrice{"unpriced", "exact", "alias", "estimated"};
constexpr std::array<std::string_view, 6> kActions{"allow", "hold", "pace", "deny", "cut", "kill"};
constexpr std::array<std::string_view, 3> kModes{"observe", "enforce", "strict"};

template <class Enum, std::size_t N>
std::string_view name_in(const std::array<std::string_view, N>& names, Enum value) {
  const auto index = static_cast<std::size_t>(value);
  if (index >= N) PN_BUG("enum value out of range");
  return names[index];
}

template <class Enum, std::size_t N>
std::optional<Enum> value_in(const std::array<std::string_view, N>& names, std::string_view text) {
  for (std::size_t i = 0; i < N; ++i)
    if (names[i] == text) return static_cast<Enum>(i);
  return std::nullopt;
}

}  // namespace

std::string_view name(Kind v) { return name_in(kKinds, v); }
std::string_view name(UsageStatus v) { return name_in(kUsage, v); }
std::string_view name(PriceStatus v) { return name_in(kPrice, v); }
std::string_view name(Action v) { return name_in(kActions, v); }
std::string_view name(Mode v) { return name_in(kModes, v); }
std::optional<Mode> mode_from(std::string_view text) { return value_in<Mode>(kModes, text); }
std::optional<Action> action_from(std::string_view text) { return value_in<Action>(kActions, text); }

}  // namespace penstock::model
