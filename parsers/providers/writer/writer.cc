// Writer: chat completions at /v1/chat; both delta and message in a chunk, details of the usage in the singular.
#include <string_view>

#include "parsers/dialects/compatible.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"api.writer.com"};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  if (head.method == "POST" && dialects::Segments(head.path).ends_with({"v1", "chat"}))
    return dialects::make_chat_completions();
  return dialects::open_compatible(head);
}

}  // namespace

extern const Provider k_writer;
const Provider k_writer{
    .name = "writer",
    .hosts = kHosts,
    .open = open,
};

}  // namespace penstock::parsers::providers
