#include "parsers/dialects/openai.h"

#include "parsers/dialects/openai_internal.h"
#include "parsers/dialects/paths.h"
#include "parsers/dialects/rerank.h"

namespace penstock::parsers::dialects {
namespace {

// The inference APIs, whoever serves them.
std::unique_ptr<Decoder> open_inference(const RequestHead& head, bool strict) {
  const Segments path(head.path);
  if (head.method != "POST") return nullptr;
  if (path.ends_with({"chat", "completions"})) return make_chat("chat", strict);
  if (path.ends_with({"completions"})) return make_chat("text_completion", strict);
  if (path.ends_with({"responses"})) return make_responses("chat", strict);
  if (path.ends_with({"embeddings"})) return make_input("embeddings", strict);
  if (path.ends_with({"responses", "compact"})) return make_responses("chat", strict);
  if (path.ends_with({"responses", "input_tokens"})) return make_responses("count_tokens", strict);
  if (path.ends_with({"images", "generations"})) return make_input("image_generation", strict);
  if (path.ends_with({"audio", "speech"})) return make_input("speech", strict);
  if (path.ends_with({"rerank"})) return make_rerank(strict);
  if (path.tail(0) == "chatcompletion_v2") return make_chat("chat", strict);  // MiniMax
  return nullptr;
}

}  // namespace

void start_openai(const RequestHead& head, std::string_view operation, model::Exchange& exchange) {
  exchange.kind = model::Kind::kLlm;
  exchange.operation = std::string(operation);
  const Segments path(head.path);
  exchange.request_model = percent_decode(path.after("deployments"));
  if (exchange.request_model.empty()) exchange.request_model = percent_decode(path.after("engines"));
}

std::unique_ptr<Decoder> open_openai_shaped(const RequestHead& head) {
  if (auto decoder = open_inference(head, true)) return decoder;
  const Segments path(head.path);
  if (head.method != "POST") return nullptr;
  if (path.ends_with({"moderations"})) return make_input("moderation", true);
  // A recording to be transcribed comes as a form: no body that could prove it, but who else has such a path?
  const bool transcribes = path.ends_with({"audio", "transcriptions"}) || path.ends_with({"audio", "translations"});
  const bool form = wire::http::media_type(head.header("content-type")) == "multipart/form-data";
  return transcribes && form ? make_input("transcription", false) : nullptr;
}

std::unique_ptr<Decoder> open_openai(const RequestHead& head) {
  if (auto decoder = open_inference(head, false)) return decoder;
  const Segments path(head.path);
  const bool post = head.method == "POST";
  if (post && (path.ends_with({"images", "edits"}) || path.ends_with({"images", "variations"})))
    return make_input("image_generation", false);
  if (post && (path.ends_with({"audio", "transcriptions"}) || path.ends_with({"audio", "translations"})))
    return make_input("transcription", false);
  if (post && path.ends_with({"moderations"})) return make_input("moderation", false);
  // threads/{t}/runs, threads/runs, threads/{t}/runs/{r}, …/submit_tool_outputs, …/cancel; not …/steps, nor a list of
  // runs.
  if (path.contains("threads")) {
    if (post && path.tail(0) == "runs") return make_runs();
    if (path.tail(1) == "runs") return make_runs();
    if (post && path.tail(2) == "runs" && (path.tail(0) == "submit_tool_outputs" || path.tail(0) == "cancel"))
      return make_runs();
    return nullptr;
  }
  // Polling a stored or background response repeats its usage; the response id tells that it is the same one.
  if (path.tail(1) == "responses" && (head.method == "GET" || path.tail(0) == "cancel"))
    return make_responses("chat", false);
  if (post && path.tail(2) == "responses" && path.tail(0) == "cancel") return make_responses("chat", false);
  return nullptr;
}

}  // namespace penstock::parsers::dialects
