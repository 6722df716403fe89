// Terms of the input:  1, bytes around the text, bytes of text, bytes of tool definitions, bytes of the answer's
// schema, whether
//                      there are tools.
// Terms of the output: 1, bytes of text, calls. What a model thinks and does not show is its average.
// The priors are fits over recorded traffic (tests/bench/estimator prints the errors): a family shares a tokenizer, the
// frame it puts around a message, and the instructions that it adds when tools are offered.
#include "userspace/ledger/usage_models.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace penstock::ledger {
namespace {

constexpr std::uint64_t kMaxTokens = std::uint64_t{1} << 40;
constexpr std::size_t kNameBytes = 128;

struct Family {
  std::array<std::string_view, 5> names;  // any of them in the model's name
  TokenModel::Terms input;
  TokenModel::Terms output;
};

constexpr Family kFamilies[] = {
    {{"claude"}, {3, 0.05, 0.21, 0.22, 0.2, 320}, {4, 0.25, 20, 0, 0, 0}},
    {{"gemini", "gemma", "learnlm"}, {0, 0.03, 0.21, 0.13, 0.15, 10}, {1, 0.23, 5, 0, 0, 0}},
    {{"nova", "titan"}, {3, 0.05, 0.22, 0.25, 0.2, 250}, {2, 0.23, 20, 0, 0, 0}},
    {{"command", "c4ai", "aya"}, {3, 0.05, 0.22, 0.2, 0.2, 200}, {2, 0.23, 20, 0, 0, 0}},
    {{"mistral", "mixtral", "magistral", "codestral", "ministral"},
     {2, 0.05, 0.23, 0.25, 0.2, 20},
     {2, 0.24, 8, 0, 0, 0}},
    {{"grok"}, {100, 0.05, 0.21, 0.3, 0.2, 60}, {2, 0.22, 10, 0, 0, 0}},
    {{"qwen", "qwq"}, {5, 0.05, 0.22, 0.25, 0.2, 100}, {2, 0.23, 10, 0, 0, 0}},
    {{"llama"}, {15, 0.05, 0.21, 0.25, 0.2, 80}, {2, 0.22, 10, 0, 0, 0}},
    {{"deepseek", "glm", "kimi"}, {5, 0.05, 0.21, 0.25, 0.2, 80}, {2, 0.22, 10, 0, 0, 0}},
    {{"gpt-oss"}, {65, 0.05, 0.21, 0.15, 0.15, 20}, {2, 0.22, 10, 0, 0, 0}},
    {{""}, {3, 0.05, 0.205, 0.12, 0.13, 15}, {2, 0.22, 10, 0, 0, 0}},
};
constexpr TokenModel::Terms kInputDoubt = {20, 0.1, 0.05, 0.15, 0.15, 200};
constexpr TokenModel::Terms kOutputDoubt = {5, 0.05, 15, 1, 1, 1};
constexpr std::size_t kRemembered = 256;      // prompts of a model
constexpr std::uint32_t kHiddenAnswers = 16;  // in the average of what is not shown; the family's counts as one of them

std::size_t family_of(std::string_view model) {
  const auto named = [model](const Family& family) {
    return std::any_of(family.names.begin(), family.names.end(), [model](std::string_view name) {
      return !name.empty() && model.find(name) != std::string_view::npos;
    });
  };
  const auto found = std::find_if(std::begin(kFamilies), std::end(kFamilies), named);
  return found == std::end(kFamilies) ? std::size(kFamilies) - 1
                                      : static_cast<std::size_t>(found - std::begin(kFamilies));
}

std::string_view model_of(const model::Exchange& e) {
  return e.request_model.empty() ? e.response_model : e.request_model;
}

double size(std::uint64_t value) { return static_cast<double>(std::min(value, kMaxTokens)); }

std::uint64_t less(std::uint64_t a, std::uint64_t b) { return a - std::min(a, b); }

TokenModel::Terms input_terms(const model::RequestFacts& r) {
  const std::uint64_t body = less(r.body_bytes, r.media_bytes);
  // Without a reading of the body (not JSON, or not seen whole) its size has to do.
  const std::uint64_t text = r.text_bytes > 0 ? less(r.text_bytes, r.definition_text_bytes) : body;
  const std::uint64_t around = less(less(less(body, text), r.tool_bytes), r.schema_bytes);
  return {1, size(around), size(text), size(r.tool_bytes), size(r.schema_bytes), r.tool_bytes > 0 ? 1.0 : 0.0};
}

TokenModel::Terms output_terms(const model::Exchange& e) {
  return {1, size(e.output_text_bytes), size(e.tool_calls.size()), 0, 0, 0};
}

}  // namespace

const std::string& ModelKey::of(const model::Exchange& e) {
  return text_.assign(e.provider).append("/").append(model_of(e).substr(0, kNameBytes));
}

bool offers_server_side_tools(const model::RequestFacts& facts) {
  return std::any_of(facts.offered_tools.begin(), facts.offered_tools.end(), [](const std::string& name) {
    for (std::string_view prefix :
         {"web_search", "web_fetch", "code_execution", "code_interpreter", "file_search", "computer_use",
          "google_search", "url_context", "googleSearch", "urlContext", "codeExecution", "mcp_toolset"})
      if (name.starts_with(prefix)) return true;
    return false;
  });
}

UsageModels::UsageModels(std::size_t max_models) : max_models_(max_models) {
  for (const Family& family : kFamilies)
    families_.push_back({TokenModel({family.input, kInputDoubt, kRemembered}),
                         TokenModel({family.output, kOutputDoubt}), families_.size()});
}

const UsageModels::Pair& UsageModels::find(const model::Exchange& exchange) const {
  const auto found = models_.find(key_.of(exchange));
  return found != models_.end() ? found->second : families_[family_of(model_of(exchange))];
}

std::uint64_t UsageModels::input_tokens(const model::Exchange& e) const {
  return find(e).input.estimate(input_terms(e.request));
}

std::uint64_t UsageModels::answers(const model::Exchange& e) const {
  const auto found = models_.find(key_.of(e));
  return found == models_.end() ? 0 : found->second.input.answers();
}

std::uint64_t UsageModels::output_tokens(const model::Exchange& e) const {
  if (e.output_text_bytes == 0 && e.tool_calls.empty()) return 0;
  const Pair& pair = find(e);
  return pair.output.estimate(output_terms(e)) + static_cast<std::uint64_t>(pair.hidden_tokens);
}

// A model that answers for the first time expects what its family has shown.
std::array<UsageModels::Pair*, 2> UsageModels::taught_by(const model::Exchange& e) {
  const std::string& key = key_.of(e);
  const auto found = models_.find(key);
  if (found != models_.end()) return {&found->second, &families_[found->second.family]};
  Pair& family = families_[family_of(model_of(e))];
  if (models_.size() >= max_models_) return {nullptr, &family};  // names are chosen by the caller: the first ones stay
  Pair fresh{TokenModel({family.input.coefficients(), kInputDoubt, kRemembered}),
             TokenModel({family.output.coefficients(), kOutputDoubt}), family.family, family.hidden_tokens};
  return {&models_.emplace(key, std::move(fresh)).first->second, &family};
}

void UsageModels::learn(const model::Exchange& e) {
  const std::array<Pair*, 2> pairs = taught_by(e);
  // What is not in the request's text cannot be learnt from it.
  const bool all_text = e.request.media_parts == 0 && !e.request.stored_context &&
                        !offers_server_side_tools(e.request) && e.iterations.empty();
  const TokenModel::Terms input = input_terms(e.request);
  if (const auto tokens = e.usage.input_tokens;
      all_text && tokens && *tokens > 0 && *tokens < kMaxTokens && input[2] + input[3] > 0)
    for (Pair* pair : pairs)
      if (pair != nullptr) pair->input.learn(input, *tokens);

  const auto tokens = e.usage.output_tokens;
  const bool seen = e.output_text_bytes > 0 || !e.tool_calls.empty();
  if (!seen || !tokens || *tokens == 0 || *tokens >= kMaxTokens) return;
  // Reasoning may be shown, in whole, in summary or not at all: what was seen tells which.
  const TokenModel::Terms output = output_terms(e);
  const std::uint64_t reasoning = std::min(e.usage.reasoning_tokens.value_or(0), *tokens - 1),
                      visible = *tokens - reasoning;
  const TokenModel& best = (pairs[0] != nullptr ? pairs[0] : pairs[1])->output;
  const auto apart = [guess = reasoning > 0 ? best.estimate(output) : 0](std::uint64_t count) {
    return count > guess ? count - guess : guess - count;
  };
  const bool hidden = reasoning > 0 && apart(visible) < apart(*tokens);
  for (Pair* pair : pairs) {
    if (pair == nullptr) continue;
    pair->output.learn(output, hidden ? visible : *tokens);
    pair->answers = std::min(pair->answers + 1, kHiddenAnswers - 1);
    pair->hidden_tokens += (static_cast<double>(hidden ? reasoning : 0) - pair->hidden_tokens) / (pair->answers + 1);
  }
}

}  // namespace penstock::ledger
