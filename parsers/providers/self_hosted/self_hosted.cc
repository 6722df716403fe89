// Whatever answers on this machine or at a bare address: vLLM, SGLang, llama.cpp, LM Studio, LiteLLM and other proxies,
// and Text Generation Inference by its own paths, wherever it runs.
#include "parsers/dialects/compatible.h"
#include "parsers/dialects/hosts.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/tgi.h"
#include "parsers/providers/self_hosted/native.h"

namespace penstock::parsers::providers {
namespace {

Claim claim(const RequestHead& head) {
  if (dialects::is_huggingface(head.host) && dialects::is_tgi(head)) return Claim::kPath;
  return dialects::is_local(head.host) ? Claim::kLocal : Claim::kNone;
}

std::unique_ptr<Decoder> open(const RequestHead& head) {
  if (auto decoder = self_hosted::open_native(head)) return decoder;
  if (auto decoder = dialects::open_shaped(head)) return decoder;
  // Images, audio, moderations, reranking: their bodies prove nothing, a versioned path does.
  return dialects::Segments(head.path).contains("v1") ? dialects::open_compatible(head) : nullptr;
}

}  // namespace

extern const Provider k_self_hosted;
const Provider k_self_hosted{
    .name = "self_hosted",
    .open = open,
    .claim = claim,
    .converse = dialects::converse_compatible,
};

}  // namespace penstock::parsers::providers
