// Azure OpenAI. The path names a deployment, which is an alias: it is the model asked for only where the body names
// none. Resources that also serve other vendors (*.services.ai.azure.com) are Azure OpenAI below /openai and
// /voice-live only.
#include <string_view>

#include "parsers/dialects/facts.h"
#include "parsers/dialects/hosts.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"*.openai.azure.com", "*.cognitiveservices.azure.com"};

Claim claim(const RequestHead& head) {
  if (!head.host.ends_with(".services.ai.azure.com")) return Claim::kNone;
  return head.path.starts_with("/openai/") || head.path.starts_with("/voice-live") ? Claim::kPath : Claim::kNone;
}

std::unique_ptr<Decoder> open(const RequestHead& head) { return dialects::open_openai(head); }

}  // namespace

extern const Provider k_azure_ai_openai;
const Provider k_azure_ai_openai{
    .name = "azure.ai.openai",
    .hosts = kHosts,
    .open = open,
    .claim = claim,
    .converse = dialects::converse_openai,
};

}  // namespace penstock::parsers::providers
