// Databricks model serving: endpoints by name, whose API the body shows, and chat completions. Usage is cumulative in
// every chunk of a stream.
#include <string_view>

#include "parsers/dialects/any_body.h"
#include "parsers/dialects/compatible.h"
#include "parsers/dialects/paths.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"*.azuredatabricks.net", "*.cloud.databricks.com", "*.gcp.databricks.com"};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  const dialects::Segments path(head.path);
  if (head.method == "POST" && path.tail(2) == "serving-endpoints" && path.tail(0) == "invocations")
    return dialects::make_any_body(dialects::percent_decode(path.tail(1)));
  return path.contains("serving-endpoints") || path.contains("ai-gateway") ? dialects::open_compatible(head) : nullptr;
}

}  // namespace

extern const Provider k_databricks;
const Provider k_databricks{
    .name = "databricks",
    .hosts = kHosts,
    .open = open,
};

}  // namespace penstock::parsers::providers
