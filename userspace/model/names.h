// The outside spelling of every enum: CLI, JSON, metrics. One place, so that no name is spelled twice.
#pragma once

#include <optional>
#include <string_view>

#include "userspace/model/exchange.h"

namespace penstock::model {

std::string_view name(Kind);
std::string_view name(UsageStatus);  // unknown exact estimated incomplete
std::string_view name(PriceStatus);  // unpriced exact alias estimated
std::string_view name(Action);       // allow hold pace deny cut kill
std::string_view name(Mode);         // observe enforce strict

std::optional<Mode> mode_from(std::string_view);
std::optional<Action> action_from(std::string_view);

}  // namespace penstock::model
