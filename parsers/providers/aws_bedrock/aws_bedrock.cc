// Amazon Bedrock. The model id or ARN is percent-encoded in the path; bedrock-mantle is OpenAI-compatible.
#include "parsers/providers/aws_bedrock/aws_bedrock.h"

#include "parsers/dialects/compatible.h"
#include "parsers/dialects/count_tokens.h"
#include "parsers/dialects/paths.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"bedrock-runtime*", "bedrock-mantle*", "bedrock-agent-runtime*",
                                       "*.bedrock-runtime.*.vpce.amazonaws.com"};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  using namespace aws_bedrock;
  if (head.method != "POST") return nullptr;
  const dialects::Segments path(head.path);
  const std::string_view last = path.tail(0);
  // An ARN that was not encoded has slashes: the model is all between /model/ and the operation.
  if (const std::size_t at = head.path.find("/model/");
      at != std::string::npos && last.size() + 1 < head.path.size() - at - 6) {
    std::string model =
        dialects::percent_decode(std::string_view(head.path).substr(at + 7, head.path.rfind('/') - at - 7));
    if (last == "converse") return make_converse(std::move(model), false);
    if (last == "converse-stream") return make_converse(std::move(model), true);
    if (last == "invoke") return make_invoke(std::move(model), false);
    if (last == "invoke-with-response-stream") return make_invoke(std::move(model), true);
    if (last == "count-tokens") return dialects::make_count_tokens(std::move(model));
    return nullptr;
  }
  if (path.tail(0) == "text" && path.contains("agents")) return make_agent("invoke_agent");
  if (path.contains("retrieveAndGenerate") || path.contains("retrieveAndGenerateStream")) return make_agent("chat");
  return dialects::open_compatible(head);
}

}  // namespace

extern const Provider k_aws_bedrock;
const Provider k_aws_bedrock{
    .name = "aws.bedrock",
    .hosts = kHosts,
    .open = open,
};

}  // namespace penstock::parsers::providers
