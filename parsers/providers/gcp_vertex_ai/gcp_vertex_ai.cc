// Vertex AI: Google's own models, those of other publishers, and OpenAI-compatible endpoints.
#include <string_view>

#include "parsers/dialects/anthropic.h"
#include "parsers/dialects/any_body.h"
#include "parsers/dialects/gemini.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"aiplatform.googleapis.com", "*-aiplatform.googleapis.com",
                                       "aiplatform.*.rep.googleapis.com"};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  const dialects::ModelMethod target = dialects::model_method(head.path);
  if (target.method == "rawPredict" || target.method == "streamRawPredict") {
    const std::string_view publisher = dialects::Segments(head.path).after("publishers");
    if (publisher == "anthropic") {
      if (target.model == "count-tokens") return nullptr;
      return dialects::make_messages(target.model);
    }
    return dialects::make_any_body(target.model);  // mistralai, meta, ai21
  }
  if (auto decoder = dialects::open_gemini(head)) return decoder;
  return dialects::open_openai(head);  // …/endpoints/openapi/chat/completions
}

}  // namespace

extern const Provider k_gcp_vertex_ai;
const Provider k_gcp_vertex_ai{
    .name = "gcp.vertex_ai",
    .hosts = kHosts,
    .open = open,
    .converse = dialects::converse_gemini,
};

}  // namespace penstock::parsers::providers
