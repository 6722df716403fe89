// Amazon SageMaker endpoints: whatever the container behind them speaks, as the body shows; streamed, its answer comes
// in the parts of an AWS event stream.
#include <string_view>

#include "parsers/dialects/any_body.h"
#include "parsers/dialects/delegate.h"
#include "parsers/dialects/paths.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"runtime.sagemaker.*"};

class Streamed : public dialects::Delegate {
 public:
  Streamed() : Delegate(dialects::make_any_body({})) {}

  bool request(Json body, model::Exchange& exchange) override {
    const bool ours = Delegate::request(body, exchange);
    exchange.stream = true;
    return ours;
  }
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  const std::string_view last = dialects::Segments(head.path).tail(0);
  if (head.method != "POST") return nullptr;
  if (last == "invocations-response-stream") return std::make_unique<Streamed>();
  return last == "invocations" ? dialects::make_any_body({}) : nullptr;
}

}  // namespace

extern const Provider k_aws_sagemaker;
const Provider k_aws_sagemaker{
    .name = "aws.sagemaker",
    .hosts = kHosts,
    .open = open,
};

}  // namespace penstock::parsers::providers
