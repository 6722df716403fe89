// The price bundle, assembled into read-only data: no file to lose at run time, no array literal to compile.
#include "userspace/ledger/price_tables.h"

__asm__(
    ".pushsection .rodata\n"
    ".balign 16\n"
    ".local penstock_price_bundle_begin\n"
    ".local penstock_price_bundle_end\n"
    "penstock_price_bundle_begin:\n"
    ".incbin \"" PENSTOCK_PRICE_BUNDLE
    "\"\n"
    "penstock_price_bundle_end:\n"
    ".popsection\n");

extern "C" {
extern const char penstock_price_bundle_begin[] __attribute__((visibility("hidden")));
extern const char penstock_price_bundle_end[] __attribute__((visibility("hidden")));
}

namespace penstock::ledger {

std::string_view embedded_bundle() {
  return {penstock_price_bundle_begin,
          static_cast<std::size_t>(penstock_price_bundle_end - penstock_price_bundle_begin)};
}

}  // namespace penstock::ledger
