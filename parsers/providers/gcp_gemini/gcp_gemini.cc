// The Gemini API: generateContent and its relatives, the Live API, Interactions, and chat completions under /openai.
#include <string_view>

#include "parsers/dialects/gemini.h"
#include "parsers/dialects/openai.h"
#include "parsers/dialects/paths.h"

namespace penstock::parsers::providers {
namespace {

constexpr std::string_view kHosts[] = {"generativelanguage.googleapis.com", "cloudcode-pa.googleapis.com",
                                       "*-cloudcode-pa.googleapis.com"};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  if (dialects::Segments(head.path).contains("openai")) return dialects::open_openai(head);
  return dialects::open_gemini(head);
}

}  // namespace

extern const Provider k_gcp_gemini;
const Provider k_gcp_gemini{
    .name = "gcp.gemini",
    .hosts = kHosts,
    .open = open,
    .converse = dialects::converse_gemini,
};

}  // namespace penstock::parsers::providers
