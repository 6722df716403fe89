// `penstock decode` and `penstock providers`: what the parsers make of recorded traffic, and whom they know. Pure code: no
// daemon, no kernel, no privileges.
#pragma once

#include <CLI/CLI.hpp>

namespace penstock::parsers::decode {

// Each adds its subcommand to `app`; the exit code goes to `exit_code`, which must outlive the parsing of the command line.
void add_decode(CLI::App& app, int& exit_code);
void add_providers(CLI::App& app, int& exit_code);

}  // namespace penstock::parsers::decode
