// What a strict estimate is an upper bound of.
//
// Input. A token of a byte-level tokenizer covers at least one byte of text, and everything that a provider renders
// into the prompt (roles, tool schemas, JSON keys) stands in the request with at least as many bytes, except for the
// provider's own preambles: kPreambleTokens for the system prompt that tool use switches on, kTokensPerTool for each
// tool offered. So text is bounded by the bytes of the body without its media. Media have no such bound (a picture is
// billed by its size in pixels): strict_tokens_per_media_part each, and no less than one token per byte they take in
// the request. Nothing beats the context window, where it is known for exactly this model. Not bounded, and said so
// (`bounded = false`): conversations stored at the provider, and server-side tools, which feed their results back to
// the model and bill the context again. The estimate is then the whole context window.
//
// Output. max_tokens times the choices is enforced by the provider. Without it the longest answer of the model is;
// without that nothing is, and `bounded` is false.
#include "userspace/ledger/estimate.h"

#include <algorithm>
#include <bit>

namespace penstock::ledger {
namespace {

constexpr std::uint64_t kPreambleTokens = 1000;
constexpr std::uint64_t kTokensPerTool = 64;
constexpr std::uint64_t kUnknownContextTokens = 1'000'000;
constexpr std::uint64_t kMaxTokens = std::uint64_t{1} << 40;  // per call; keeps products of counts in range
constexpr std::uint64_t kBytesPerThousandTokens = 3600;       // of an answer under way: rather too few
constexpr std::uint64_t kMaxChoices = 128;                    // more is refused by every provider
// The histogram decays by halves at this size, so that a model's habits of last week fade.
constexpr std::uint64_t kDecaySamples = 4096;
constexpr std::size_t kHistogramBuckets = 4 * 41;

std::uint64_t saturating_multiply(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) || product > kMaxTokens ? kMaxTokens : product;
}
std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
  return std::min(std::min(a, kMaxTokens) + std::min(b, kMaxTokens), kMaxTokens);
}

// Four buckets per power of two: a value and its bucket's upper end differ by at most a quarter.
std::size_t bucket_of(std::uint64_t value) {
  if (value < 4) return static_cast<std::size_t>(value);
  const auto power = static_cast<std::size_t>(std::bit_width(value) - 1);
  return std::min(4 * (power - 1) + static_cast<std::size_t>(value >> (power - 2) & 3), kHistogramBuckets - 1);
}
std::uint64_t bucket_end(std::size_t bucket) {
  if (bucket < 4) return bucket;
  const std::size_t power = bucket / 4 + 1;
  return ((std::uint64_t{4} + bucket % 4 + 1) << (power - 2)) - 1;
}

}  // namespace

Estimator::Estimator(const Options& options, const PriceBook* prices)
    : options_(options), prices_(prices), usage_(options.max_models) {}

const Estimator::Learnt* Estimator::find(const model::Exchange& exchange) const {
  const auto found = models_.find(key_.of(exchange));
  return found == models_.end() ? nullptr : &found->second;
}

std::uint64_t Estimator::expected_input(const model::Exchange& e) const {
  return saturating_add(usage_.input_tokens(e),
                        saturating_multiply(e.request.media_parts, options_.tokens_per_media_part));
}

model::Usage Estimator::expected_usage(const model::Exchange& e) const {
  model::Usage usage;
  usage.input_tokens = expected_input(e);
  usage.output_tokens = usage_.output_tokens(e);
  return usage;
}

std::optional<std::uint64_t> Estimator::percentile99(const Learnt& learnt) {
  std::uint64_t seen = 0;
  for (std::size_t b = 0; b < learnt.output_histogram.size(); ++b) {
    seen += learnt.output_histogram[b];
    if (seen * 100 >= learnt.output_samples * 99) return bucket_end(b);
  }
  return std::nullopt;
}

TokenEstimate Estimator::tokens(const model::Exchange& e, bool strict) const {
  return tokens(e, prices_->lookup(e), strict);
}

TokenEstimate Estimator::tokens(const model::Exchange& e, const Quote& quote, bool strict) const {
  const model::RequestFacts& r = e.request;
  const Learnt* learnt = find(e);
  TokenEstimate out;

  if (strict) {
    const std::uint64_t media = std::max(saturating_multiply(r.media_parts, options_.strict_tokens_per_media_part),
                                         std::min(r.media_bytes, kMaxTokens));
    const std::uint64_t text = std::max(r.text_bytes, r.body_bytes > r.media_bytes ? r.body_bytes - r.media_bytes : 0);
    out.input_tokens =
        saturating_add(saturating_add(text, media), kPreambleTokens + kTokensPerTool * r.offered_tools.size());
    const bool known = quote.status == model::PriceStatus::kExact;  // limits of a similar name are no proof
    if (known && quote.context_tokens) out.input_tokens = std::min(out.input_tokens, *quote.context_tokens);
    if (r.stored_context || offers_server_side_tools(r)) {
      out.bounded = false;
      out.input_tokens = std::max(out.input_tokens, quote.context_tokens.value_or(kUnknownContextTokens));
    }
  } else {
    // A reservation rather holds a little too much.
    const std::uint64_t expected = expected_input(e);
    out.input_tokens = saturating_add(expected, expected / 10);
    if (quote.context_tokens) out.input_tokens = std::min(out.input_tokens, *quote.context_tokens);
  }

  const std::uint64_t choices = std::clamp<std::uint64_t>(r.choices.value_or(1), 1, kMaxChoices);
  const auto percentile =
      learnt && learnt->output_samples >= options_.min_samples ? percentile99(*learnt) : std::nullopt;
  std::uint64_t per_answer = options_.default_output_tokens;
  if (r.max_output_tokens) {
    per_answer = *r.max_output_tokens;
    out.output_basis = OutputBasis::kRequested;
  } else if (percentile && !strict) {
    per_answer = *percentile;
    out.output_basis = OutputBasis::kLearnt;
  } else if (quote.max_output_tokens) {
    per_answer = *quote.max_output_tokens;
    out.output_basis = OutputBasis::kModelMax;
    if (strict && quote.status != model::PriceStatus::kExact) out.bounded = false;
  } else {
    if (strict) out.bounded = false;
    if (percentile) per_answer = std::max(per_answer, *percentile);
  }
  out.output_tokens = saturating_multiply(per_answer, choices);
  return out;
}

Amounts Estimator::reserve_amounts(const model::Exchange& e, bool strict) const {
  const Quote quote = prices_->lookup(e);
  const TokenEstimate t = tokens(e, quote, strict);
  return {PriceBook::estimate_upper(quote, t.input_tokens, t.output_tokens, strict).amount,
          saturating_add(t.input_tokens, t.output_tokens), 1};
}

// With what the provider has reported so far, if that is more.
Amounts Estimator::taken(const model::Exchange& e, std::uint64_t expected_input, std::uint64_t output_tokens) const {
  const std::uint64_t input = e.usage.input_tokens.value_or(expected_input);
  const std::uint64_t output = std::max(e.usage.output_tokens.value_or(0), output_tokens);
  model::Usage usage = e.usage;
  usage.input_tokens = input;
  usage.output_tokens = output;
  return {PriceBook::cost(prices_->lookup(e), usage).amount, saturating_add(input, output), 1};
}

// A stream is cut on what was seen of it: not on what its model is used to think besides, nor on what others have
// taught.
Amounts Estimator::progress_amounts(const model::Exchange& e) const { return progress_amounts(e, expected_input(e)); }

Amounts Estimator::progress_amounts(const model::Exchange& e, std::uint64_t expected_input) const {
  const std::uint64_t bytes = std::min(e.output_text_bytes, kMaxTokens);
  return taken(e, expected_input, (bytes * 1000 + kBytesPerThousandTokens - 1) / kBytesPerThousandTokens);
}

Settlement Estimator::settlement(const model::Exchange& e) const {
  Settlement out;
  const auto tokens = total_tokens(e);
  const bool complete = e.usage_status == model::UsageStatus::kExact && tokens.has_value();
  if (complete) {
    out.cost = prices_->cost(e);
    out.amounts = {out.cost->amount, *tokens, 1};
    return out;
  }
  if (e.usage_status == model::UsageStatus::kIncomplete || e.coverage.lost_bytes > 0 ||
      e.verdict.action == model::Action::kCut || e.verdict.action == model::Action::kKill) {
    out.upper = true;
    out.status = SettleStatus::kEstimated;
    return out;
  }
  const bool refused = e.status >= 400 || (e.error && !e.error->in_stream);
  if (refused && !tokens) {
    out.amounts = {model::NanoUsd{0}, 0, 1};
    return out;
  }
  if (e.status == 0 && e.output_text_bytes == 0 &&
      !tokens) {  // no answer was seen: it may have been billed all the same
    out.upper = true;
    out.status = SettleStatus::kEstimated;
    return out;
  }
  out.amounts = taken(e, expected_input(e), usage_.output_tokens(e));
  out.status = SettleStatus::kEstimated;
  return out;
}

void Estimator::learn(const model::Exchange& e) {
  if (e.usage_status != model::UsageStatus::kExact || e.coverage.truncated_start) return;
  usage_.learn(e);
  const std::string& key = key_.of(e);
  auto found = models_.find(key);
  if (found == models_.end()) {
    if (models_.size() >= options_.max_models) return;  // names are chosen by the caller: the first ones stay
    found = models_.emplace(key, Learnt{}).first;
  }
  Learnt& l = found->second;
  if (e.usage.output_tokens && *e.usage.output_tokens < kMaxTokens) {
    if (l.output_histogram.empty()) l.output_histogram.resize(kHistogramBuckets);
    ++l.output_histogram[bucket_of(*e.usage.output_tokens)];
    if (++l.output_samples >= kDecaySamples) {
      l.output_samples = 0;
      for (std::uint32_t& n : l.output_histogram) l.output_samples += n /= 2;
    }
  }
}

std::optional<std::uint64_t> total_tokens(const model::Exchange& e) {
  std::optional<std::uint64_t> total;
  const auto count = [&](const model::Usage& u) {
    for (const auto& part : {u.input_tokens, u.output_tokens})
      if (part) total = saturating_add(total.value_or(0), *part);
  };
  count(e.usage);
  for (const model::Iteration& pass : e.iterations) count(pass.usage);
  return total;
}

}  // namespace penstock::ledger
