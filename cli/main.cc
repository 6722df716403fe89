#include "cli/app.h"
#include "parsers/decode/decode.h"
#include "userspace/ledger/prices.h"

namespace {

// The parsers and the price list are pure code that needs no daemon: the binary links them, the library below it does
// not (docs/decisions/0002-parsers-layers.md).
std::optional<penstock::model::NanoUsd> price(const penstock::model::Exchange& exchange) {
  static const auto book = penstock::ledger::PriceBook::load({});
  return book ? book->cost(exchange).amount : std::nullopt;
}

void add_offline(CLI::App& app, penstock::cli::Context& context) {
  static int exit_code = 0;
  penstock::parsers::decode::add_decode(app, exit_code, price);
  penstock::parsers::decode::add_providers(app, exit_code);
  // Both have done their work when the command line is parsed.
  context.run = []() -> penstock::base::Result<int> { return exit_code; };
}

}  // namespace

int main(int argc, char** argv) {
  return penstock::cli::main_with({argv + 1, argv + argc}, PENSTOCK_VERSION, add_offline);
}
