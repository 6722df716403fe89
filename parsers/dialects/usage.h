// Helpers that read counters into model::Usage. Whatever a provider's counter means, model::Usage has one meaning
// (userspace/model/usage.h); each dialect says here how its own maps to it. Sums saturate: counters are hostile input.
#pragma once

#include <cstdint>
#include <optional>

#include "parsers/dialects/provider.h"
#include "userspace/model/usage.h"

namespace penstock::parsers::dialects {

using Count = std::optional<std::uint64_t>;

// The later non-null wins: providers that repeat a counter repeat it cumulatively, never as a delta.
void take(Count& into, Count value);
// Absent only when all are absent.
Count sum(Count a, Count b);
Count sum(Count a, Count b, Count c);
// All that was generated. Whether a provider's output includes reasoning differs: the total, where there is one, tells;
// and what is more than the whole cannot be a part of it (some totals leave reasoning out too).
Count whole_output(Count input, Count output, Count reasoning, Count total);
// True when nothing at all was reported.
bool nothing_reported(const model::Usage& usage);

// The usage object of OpenAI's APIs and of everyone who copies them, both spellings: prompt/completion (chat,
// embeddings) and input/output (Responses, images, audio, Realtime).
void take_openai_usage(Json usage, model::Usage& into);

// Anthropic's: three disjoint input counters. Kept raw over the events of a stream, since the sum needs the last of
// each.
struct AnthropicCounters {
  Count input, cache_read, cache_write, cache_write_1h, output, thinking, web_searches;
  void take_from(Json usage);
  void store(model::Usage& into) const;
};

}  // namespace penstock::parsers::dialects
