// All providers, in folder order. The array is generated from the folders of parsers/providers/ (cmake/Registry.cmake):
// adding a folder adds a provider, and nothing else has to change.
#pragma once

#include <span>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::providers {

std::span<const Provider* const> registry();

}  // namespace penstock::parsers::providers
