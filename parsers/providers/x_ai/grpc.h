// xAI's gRPC service xai_api.Chat.
#pragma once

#include <memory>
#include <string_view>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::providers::x_ai {

// By the method's name; nullptr: not one that samples a model.
std::unique_ptr<Decoder> open_grpc(std::string_view method);

}  // namespace penstock::parsers::providers::x_ai
