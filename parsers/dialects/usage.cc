#include "parsers/dialects/usage.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <string_view>

namespace penstock::parsers::dialects {
namespace {

// The first of several spellings that holds a number.
Count first_of(Json object, std::initializer_list<std::string_view> keys) {
  if (!object.is_object()) return std::nullopt;
  for (std::string_view key : keys)
    if (const Count value = object[key].as_count()) return value;
  return std::nullopt;
}

Count first_in(Json object, std::initializer_list<std::string_view> groups,
               std::initializer_list<std::string_view> keys) {
  for (std::string_view group : groups)
    if (const Count value = first_of(object[group], keys)) return value;
  return std::nullopt;
}

}  // namespace

void take(Count& into, Count value) {
  if (value) into = value;
}

Count sum(Count a, Count b) {
  if (!a) return b;
  if (!b) return a;
  const std::uint64_t room = std::numeric_limits<std::uint64_t>::max() - *a;
  return *a + std::min(room, *b);
}

Count sum(Count a, Count b, Count c) { return sum(sum(a, b), c); }

Count whole_output(Count input, Count output, Count reasoning, Count total) {
  if (!output || reasoning.value_or(0) == 0) return output;
  const Count both = sum(output, reasoning);
  return *reasoning > *output || (input && total && *total == *sum(input, both)) ? both : output;
}

bool nothing_reported(const model::Usage& usage) { return usage == model::Usage{}; }

void take_openai_usage(Json usage, model::Usage& into) {
  if (!usage.is_object() || !usage.complete()) return;
  Count input = first_of(usage, {"prompt_tokens", "input_tokens"});
  Count output = first_of(usage, {"completion_tokens", "output_tokens"});
  const Count total = usage["total_tokens"].as_count();
  const auto input_detail = [&](std::initializer_list<std::string_view> keys) {
    return first_in(
        usage, {"prompt_tokens_details", "input_tokens_details", "input_token_details", "prompt_token_details"}, keys);
  };
  const auto output_detail = [&](std::initializer_list<std::string_view> keys) {
    return first_in(
        usage,
        {"completion_tokens_details", "output_tokens_details", "output_token_details", "completion_token_details"},
        keys);
  };

  Count cache_read = input_detail({"cached_tokens"});
  if (!cache_read)
    cache_read =
        first_of(usage, {"prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens", "num_cached_tokens"});
  Count cache_write = input_detail({"cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens",
                                    "created_cache_tokens"});  // and by Alibaba and vLLM
  if (!cache_write) cache_write = first_of(usage, {"cache_creation_input_tokens", "cache_write_tokens"});
  Count reasoning = output_detail({"reasoning_tokens"});
  if (!reasoning) reasoning = usage["reasoning_tokens"].as_count();
  const Count audio_in = input_detail({"audio_tokens"});
  const Count audio_out = output_detail({"audio_tokens"});

  output = whole_output(input, output, reasoning, total);
  // The same of the input and its audio.
  if (total && input && output && audio_in.value_or(0) > 0 && *total == *sum(input, output, audio_in))
    input = sum(input, audio_in);

  take(into.input_tokens, input);
  take(into.output_tokens, output);
  take(into.cache_read_tokens, cache_read);
  take(into.cache_write_tokens, cache_write);
  take(into.reasoning_tokens, reasoning);
  take(into.audio_input_tokens, audio_in);
  take(into.audio_output_tokens, audio_out);
  take(into.reported_total_tokens, total);
}

void AnthropicCounters::take_from(Json usage) {
  if (!usage.is_object() || !usage.complete()) return;
  take(input, usage["input_tokens"].as_count());
  take(cache_read, usage["cache_read_input_tokens"].as_count());
  take(cache_write, usage["cache_creation_input_tokens"].as_count());
  take(cache_write_1h, usage["cache_creation"]["ephemeral_1h_input_tokens"].as_count());
  take(output, usage["output_tokens"].as_count());
  take(thinking, usage["output_tokens_details"]["thinking_tokens"].as_count());
  take(web_searches, usage["server_tool_use"]["web_search_requests"].as_count());
}

void AnthropicCounters::store(model::Usage& into) const {
  take(into.input_tokens, sum(input, cache_read, cache_write));
  take(into.output_tokens, output);
  take(into.cache_read_tokens, cache_read);
  take(into.cache_write_tokens, cache_write);
  take(into.cache_write_1h_tokens, cache_write_1h);
  take(into.reasoning_tokens, thinking);
  take(into.web_search_requests, web_searches);
}

}  // namespace penstock::parsers::dialects
