// A host that nobody here knows, speaking a dialect that everybody knows: the body proves it.
#include "parsers/dialects/compatible.h"

namespace penstock::parsers::providers {
namespace {

Claim claim(const RequestHead&) { return Claim::kAnyHost; }

}  // namespace

extern const Provider k_other;
const Provider k_other{
    .name = "other",
    .open = dialects::open_shaped,
    .claim = claim,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
