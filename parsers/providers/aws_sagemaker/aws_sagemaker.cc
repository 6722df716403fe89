// Amazon SageMaker endpoints: whatever the container behind them speaks, as the body shows.
#include <string_view>

#include "parsers/dialects/any_body.h"
#include "parsers/dialects/paths.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"runtime.sagemaker.*"};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  const std::string_view last = dialects::Segments(head.path).tail(0);
  if (head.method != "POST" || (last != "invocations" && last != "invocations-response-stream")) return nullptr;
  return dialects::make_any_body({});
}

}  // namespace

extern const Provider k_aws_sagemaker;
const Provider k_aws_sagemaker{
    .name = "aws.sagemaker",
    .hosts = kHosts,
    .open = open,
};

}  // namespace penstock::parsers::providers
