// xAI: chat completions, Responses, images and Realtime over JSON, and the same models over gRPC (xai_api.Chat).
#include <string_view>

#include "parsers/dialects/compatible.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"
#include "parsers/providers/x_ai/grpc.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"api.x.ai", "*.api.x.ai"};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  if (dialects::Segments(head.path).tail(1) == "xai_api.Chat")
    return x_ai::open_grpc(dialects::Segments(head.path).tail(0));
  // What was deferred is fetched, and only then has usage.
  if (head.method == "GET" && dialects::Segments(head.path).tail(1) == "deferred-completion")
    return dialects::make_chat_completions();
  return dialects::open_compatible(head);
}

}  // namespace

extern const Provider k_x_ai;
const Provider k_x_ai{
    .name = "x_ai",
    .hosts = kHosts,
    .open = open,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
