// How far off the estimates are, where the truth is known: recorded answers whose usage is hidden from the estimator.
//   estimator_bench FOLDER [--csv]        FOLDER: HAR files; --csv: every call instead of the summary
//
//   as they come   each call is estimated before its own usage is learnt, in recorded order: what a fresh installation
//                  sees
//   calibrated     ten folds: each tenth is estimated with what the other nine tenths have taught
//   other half     every second recording is estimated with what the others have taught, and the other way round: no
//                  prompt of a conversation has been seen before
//
//   text         prompts without tools and schemas, of 100 tokens and more, to a model that has answered 8 times before
//   structured   the same with tool definitions, tool results or a schema for the answer
//   new or tiny  the rest: less than 100 tokens (one is already 1 %), or a model of which little is known
//
// Everywhere: no media, nothing that the provider adds by itself (stored conversations, its own tools, extra passes),
// the request as it was sent. Recordings whose request cannot be the one that was counted (more tokens than bytes, or 1
// token for 20 bytes) were edited, and are left out and counted. Output: answers without hidden reasoning.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/core/testing.h"
#include "parsers/decode/har.h"
#include "parsers/session/session.h"
#include "userspace/ledger/usage_models.h"

using namespace penstock;

namespace {

struct Population {
  std::vector<model::Exchange> calls;
  std::vector<std::size_t> recording;  // of each call: the number of its file
  std::size_t edited = 0;
};

bool text_only(const model::Exchange& e) {
  const bool generates = e.operation == "chat" || e.operation == "generate_content" || e.operation == "text_completion";
  return e.kind == model::Kind::kLlm && generates && e.usage_status == model::UsageStatus::kExact &&
         e.usage.input_tokens.value_or(0) > 0 && e.usage.output_tokens.value_or(0) > 0 && e.request.body_bytes > 0 &&
         e.request.media_parts == 0 && !e.request.stored_context && e.iterations.empty() &&
         !e.usage.web_search_requests && !ledger::offers_server_side_tools(e.request) && !e.error;
}

Population read(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".har") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  Population out;
  for (std::size_t number = 0; number < files.size(); ++number) {
    std::ifstream input(files[number], std::ios::binary);
    const std::string text(std::istreambuf_iterator<char>(input), {});
    parsers::testing::Completed collector;
    (void)parsers::decode::read_har(text, [&](const parsers::decode::HarEntry& entry) {
      if (!entry.request_recorded || entry.web_socket) return;
      const parsers::decode::Conversation conversation = parsers::decode::as_http1(entry);
      parsers::decode::replay(conversation,
                              *parsers::session::make_connection_parser(conversation.endpoint, false, collector));
    });
    for (model::Exchange& e : collector.exchanges) {
      if (!text_only(e)) continue;
      const std::uint64_t tokens = *e.usage.input_tokens, bytes = e.request.body_bytes;
      if (tokens > bytes + 500 || tokens < e.request.text_bytes / 20) {
        ++out.edited;
      } else {
        out.calls.push_back(std::move(e));
        out.recording.push_back(number);
      }
    }
  }
  return out;
}

struct Estimate {
  std::uint64_t input = 0, output = 0;
  std::uint64_t answers = 0;  // that have taught the model before
};

Estimate estimate(const ledger::UsageModels& models, const model::Exchange& e) {
  return {models.input_tokens(e), models.output_tokens(e), models.answers(e)};
}

std::vector<Estimate> as_they_come(const std::vector<model::Exchange>& calls) {
  ledger::UsageModels models(512);
  std::vector<Estimate> out;
  for (const model::Exchange& e : calls) {
    out.push_back(estimate(models, e));
    models.learn(e);
  }
  return out;
}

// Those of a fold (fold_of[i] % folds) are estimated with what the other folds have taught.
std::vector<Estimate> folded(const std::vector<model::Exchange>& calls, const std::vector<std::size_t>& fold_of,
                             std::size_t folds) {
  std::vector<Estimate> out(calls.size());
  for (std::size_t fold = 0; fold < folds; ++fold) {
    ledger::UsageModels models(512);
    for (std::size_t i = 0; i < calls.size(); ++i)
      if (fold_of[i] % folds != fold) models.learn(calls[i]);
    for (std::size_t i = 0; i < calls.size(); ++i)
      if (fold_of[i] % folds == fold) out[i] = estimate(models, calls[i]);
  }
  return out;
}

std::vector<Estimate> calibrated(const std::vector<model::Exchange>& calls) {
  std::vector<std::size_t> each(calls.size());
  std::iota(each.begin(), each.end(), std::size_t{0});
  return folded(calls, each, 10);
}

double off(std::uint64_t estimate, std::uint64_t truth) {
  return std::abs(static_cast<double>(estimate) - static_cast<double>(truth)) / static_cast<double>(truth);
}

double percentile(std::vector<double> values, double which) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::size_t>(static_cast<double>(values.size() - 1) * which);
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return 100 * values[at];
}

enum class Class : std::size_t { kText, kStructured, kRest };
constexpr std::string_view kClasses[] = {"text", "structured", "new or tiny"};

Class class_of(const model::Exchange& e, const Estimate& estimate) {
  if (*e.usage.input_tokens < 100 || estimate.answers < 8) return Class::kRest;
  const bool plain = e.request.tool_bytes == 0 && e.request.schema_bytes == 0 && e.request.tool_results.empty();
  return plain ? Class::kText : Class::kStructured;
}

void line(std::string_view method, std::string_view which, std::string_view what, const std::vector<double>& errors) {
  fmt::print("{:<14} {:<12} {:<7} {:>6} {:>9.1f} % {:>9.1f} %\n", method, which, what, errors.size(),
             percentile(errors, 0.5), percentile(errors, 0.9));
}

void report(std::string_view method, const std::vector<model::Exchange>& calls,
            const std::vector<Estimate>& estimates) {
  for (std::size_t which = 0; which < std::size(kClasses); ++which) {
    std::vector<double> input, output, total;
    for (std::size_t i = 0; i < calls.size(); ++i) {
      if (static_cast<std::size_t>(class_of(calls[i], estimates[i])) != which) continue;
      const model::Usage& truth = calls[i].usage;
      input.push_back(off(estimates[i].input, *truth.input_tokens));
      if (truth.reasoning_tokens.value_or(0) > 0) continue;
      output.push_back(off(estimates[i].output, *truth.output_tokens));
      total.push_back(off(estimates[i].input + estimates[i].output, *truth.input_tokens + *truth.output_tokens));
    }
    line(method, kClasses[which], "input", input);
    line(method, kClasses[which], "output", output);
    line(method, kClasses[which], "total", total);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s FOLDER [--csv]\n", argv[0]);
    return 2;
  }
  const Population population = read(argv[1]);
  const auto& calls = population.calls;
  const std::vector<Estimate> cold = as_they_come(calls), warm = calibrated(calls),
                              other = folded(calls, population.recording, 2);
  if (argc > 2 && std::string_view(argv[2]) == "--csv") {
    fmt::print(
        "provider,model,body_bytes,text_bytes,tool_bytes,schema_bytes,definition_text_bytes,tools,input,cold_input,"
        "warm_input,other_input,output_bytes,calls,output,cold_output,warm_output,other_output,reasoning,answers,id\n");
    for (std::size_t i = 0; i < calls.size(); ++i) {
      const model::Exchange& e = calls[i];
      fmt::print("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", e.provider, e.request_model,
                 e.request.body_bytes - e.request.media_bytes, e.request.text_bytes, e.request.tool_bytes,
                 e.request.schema_bytes, e.request.definition_text_bytes, e.request.offered_tools.size(),
                 *e.usage.input_tokens, cold[i].input, warm[i].input, other[i].input, e.output_text_bytes,
                 e.tool_calls.size(), *e.usage.output_tokens, cold[i].output, warm[i].output, other[i].output,
                 e.usage.reasoning_tokens.value_or(0), other[i].answers, e.response_id);
    }
    return 0;
  }
  fmt::print("{} calls, {} left out because their request was edited\n\n", calls.size(), population.edited);
  fmt::print("{:<14} {:<12} {:<7} {:>6} {:>11} {:>11}\n", "method", "prompts", "what", "calls", "median", "p90");
  report("as they come", calls, cold);
  report("calibrated", calls, warm);
  report("other half", calls, other);
}
