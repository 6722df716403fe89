// The subcommands of this folder as a program of their own, for tests of the parsers alone.
#include "parsers/decode/decode.h"

int main(int argc, char** argv) {
  CLI::App app("Penstock's parsers on recorded traffic");
  app.require_subcommand(1);
  int exit_code = 0;
  penstock::parsers::decode::add_decode(app, exit_code);
  penstock::parsers::decode::add_providers(app, exit_code);
  CLI11_PARSE(app, argc, argv);
  return exit_code;
}
