// Amazon Bedrock. The model id or ARN is percent-encoded in the path; bedrock-mantle is OpenAI-compatible.
#include "parsers/dialects/compatible.h"
#include "parsers/dialects/paths.h"
#include "parsers/providers/aws_bedrock/agent.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"bedrock-runtime*", "bedrock-mantle*", "bedrock-agent-runtime*",
                                       "*.bedrock-runtime.*.vpce.amazonaws.com"};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  if (head.method != "POST") return nullptr;
  const dialects::Segments path(head.path);
  // agents/{a}/agentAliases/{b}/sessions/{s}/text, agents/{s}
  if ((path.tail(0) == "text" && path.contains("agents")) || path.tail(1) == "agents")
    return aws_bedrock::make_agent("invoke_agent");
  if (path.contains("retrieveAndGenerate") || path.contains("retrieveAndGenerateStream"))
    return aws_bedrock::make_agent("chat");
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
