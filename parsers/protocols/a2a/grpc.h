// The gRPC binding of A2A: /lf.a2a.v1.A2AService/{Method} (v1.0) and /a2a.v1.A2AService/{Method} (v0.3).
#pragma once

#include <memory>
#include <string_view>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::protocols::a2a {

// nullptr: no call of that service.
std::unique_ptr<Decoder> open_grpc(std::string_view path);

}  // namespace penstock::parsers::protocols::a2a
