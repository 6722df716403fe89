#include "cli/app.h"
#include "parsers/decode/decode.h"

namespace {

// The parsers are pure code that needs no daemon: the binary links them, the library below it does not
// (docs/decisions/0002-parsers-layers.md).
void add_offline(CLI::App& app, penstock::cli::Context& context) {
  static int exit_code = 0;
  penstock::parsers::decode::add_decode(app, exit_code);
  penstock::parsers::decode::add_providers(app, exit_code);
  // Both have done their work when the command line is parsed.
  context.run = []() -> penstock::base::Result<int> { return exit_code; };
}

}  // namespace

int main(int argc, char** argv) {
  return penstock::cli::main_with({argv + 1, argv + argc}, PENSTOCK_VERSION, add_offline);
}
