// `penstock decode` and `penstock providers`: what the parsers make of recorded traffic, and whom they know. Pure code:
// no daemon, no kernel, no privileges.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>

#include "userspace/model/exchange.h"

namespace penstock::parsers::decode {

// What an exchange costs; nullopt: unpriced. Prices are not the parsers' business: who registers the subcommand brings
// them.
using Price = std::function<std::optional<model::NanoUsd>(const model::Exchange&)>;

// Each adds its subcommand to `app`; the exit code goes to `exit_code`, which must outlive the parsing of the command
// line.
void add_decode(CLI::App& app, int& exit_code, Price price = {});
void add_providers(CLI::App& app, int& exit_code);

}  // namespace penstock::parsers::decode
