#include "cli/app.h"

int main(int argc, char** argv) { return penstock::cli::main_with({argv + 1, argv + argc}, PENSTOCK_VERSION); }
