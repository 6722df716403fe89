// Snowflake Cortex: chat completions, also as cortex/inference:complete; finish reasons are empty, tool_calls padded.
#include <string_view>

#include "parsers/dialects/compatible.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"*.snowflakecomputing.com"};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  const dialects::Segments path(head.path);
  if (!path.contains("cortex")) return nullptr;  // a data warehouse besides
  if (head.method == "POST" && path.tail(0) == "inference:complete") return dialects::make_chat_completions();
  if (head.method == "POST" && path.tail(0) == "inference:embed") return dialects::make_embeddings();
  return dialects::open_compatible(head);
}

}  // namespace

extern const Provider k_snowflake;
const Provider k_snowflake{
    .name = "snowflake",
    .hosts = kHosts,
    .open = open,
};

}  // namespace penstock::parsers::providers
