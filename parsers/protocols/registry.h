// All agent protocols, generated from the folders of parsers/protocols/ (cmake/Registry.cmake).
#pragma once

#include <span>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::protocols {

std::span<const AgentProtocol* const> registry();

}  // namespace penstock::parsers::protocols
