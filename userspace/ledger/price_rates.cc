// Rates and the arithmetic of costs.
#include <algorithm>
#include <limits>

#include "userspace/ledger/price_tables.h"

namespace penstock::ledger {
namespace {

constexpr std::int64_t kNano = 1'000'000'000;
constexpr std::uint64_t kMaxCount = std::uint64_t{1}
                                    << 48;  // counters beyond are nonsense; the sum below cannot overflow
constexpr std::string_view kUnitNames[kRateUnits] = {"input",          "output",    "cache_read",  "cache_write",
                                                     "cache_write_1h", "reasoning", "audio_input", "audio_output",
                                                     "web_search",     "request"};

// The unit whose rate stands in where a unit has none of its own.
std::optional<RateUnit> parent(RateUnit unit) {
  switch (unit) {
    case RateUnit::kCacheRead:
      return RateUnit::kInput;
    case RateUnit::kCacheWrite:
      return RateUnit::kInput;
    case RateUnit::kCacheWrite1h:
      return RateUnit::kCacheWrite;
    case RateUnit::kAudioInput:
      return RateUnit::kInput;
    case RateUnit::kReasoning:
      return RateUnit::kOutput;
    case RateUnit::kAudioOutput:
      return RateUnit::kOutput;
    default:
      return std::nullopt;
  }
}

const Rate* rate_of(const Quote& quote, RateUnit unit) {
  std::optional<RateUnit> at = unit;
  while (at) {
    if (const Rate* rate = quote.rates[static_cast<std::size_t>(*at)]) return rate;
    at = parent(*at);
  }
  return nullptr;
}

bool has(const Quote& quote, RateUnit unit) { return quote.rates[static_cast<std::size_t>(unit)] != nullptr; }

std::int64_t step_of(const Rate& rate, std::uint64_t input_tokens) {
  std::int64_t value = rate.base.value;
  for (const RateStep& step : rate.steps)
    if (input_tokens > step.above_input_tokens) value = step.rate.value;
  return value;
}

// Dearest rate that any input up to `input_tokens` can lead to.
std::int64_t dearest_step(const Rate& rate, std::uint64_t input_tokens) {
  std::int64_t value = rate.base.value;
  for (const RateStep& step : rate.steps)
    if (input_tokens > step.above_input_tokens) value = std::max(value, step.rate.value);
  return value;
}

model::NanoUsd divide_up(model::Int128 sum, std::uint32_t permille) {
  const model::Int128 scaled = sum * permille;
  const model::Int128 divisor = model::Int128{1'000'000} * 1000;
  const model::Int128 result = (scaled + divisor - 1) / divisor;
  const model::Int128 most = std::numeric_limits<std::int64_t>::max();
  return {static_cast<std::int64_t>(std::min(result, most))};
}

}  // namespace

std::string_view name(RateUnit unit) { return kUnitNames[static_cast<std::size_t>(unit)]; }

std::string_view name(ServiceTier tier) {
  switch (tier) {
    case ServiceTier::kStandard:
      return "standard";
    case ServiceTier::kBatch:
      return "batch";
    case ServiceTier::kFlex:
      return "flex";
    case ServiceTier::kPriority:
      return "priority";
  }
  return "standard";
}

model::PriceStatus worst(model::PriceStatus a, model::PriceStatus b) {
  const auto rank = [](model::PriceStatus s) {
    switch (s) {
      case model::PriceStatus::kExact:
        return 0;
      case model::PriceStatus::kAlias:
        return 1;
      case model::PriceStatus::kEstimated:
        return 2;
      case model::PriceStatus::kUnpriced:
        return 3;
    }
    return 3;
  };
  return rank(a) >= rank(b) ? a : b;
}

model::NanoUsdPerMillion highest_plausible(RateUnit unit) {
  const bool tokens = unit != RateUnit::kWebSearch && unit != RateUnit::kRequest;
  return {(tokens ? 1'000 : 1'000'000) * kNano};
}

std::optional<model::NanoUsdPerMillion> parse_rate(std::string_view text, bool* rounded) {
  if (rounded) *rounded = false;
  // digits [. digits] [e exponent]; the digits are collected and the point moved nine places to the right.
  std::string digits;
  int point = -1;
  std::size_t i = 0;
  for (; i < text.size() && text[i] != 'e' && text[i] != 'E'; ++i) {
    if (text[i] == '.') {
      if (point >= 0) return std::nullopt;
      point = static_cast<int>(digits.size());
    } else if (text[i] >= '0' && text[i] <= '9') {
      digits.push_back(text[i]);
    } else {
      return std::nullopt;
    }
    if (digits.size() > 60) return std::nullopt;
  }
  if (digits.empty()) return std::nullopt;
  if (point < 0) point = static_cast<int>(digits.size());
  if (i < text.size()) {
    ++i;
    const bool negative = i < text.size() && text[i] == '-';
    if (negative || (i < text.size() && text[i] == '+')) ++i;
    if (i == text.size()) return std::nullopt;
    int exponent = 0;
    for (; i < text.size(); ++i) {
      if (text[i] < '0' || text[i] > '9') return std::nullopt;
      exponent = exponent * 10 + (text[i] - '0');
      if (exponent > 60) return std::nullopt;
    }
    point += negative ? -exponent : exponent;
  }
  const int cut = point + 9;  // digits before this index are the integer part, in nano-dollars
  model::Int128 value = 0;
  for (int d = 0; d < cut; ++d) {
    value = value * 10 + (d < static_cast<int>(digits.size()) ? digits[static_cast<std::size_t>(d)] - '0' : 0);
    if (value > std::numeric_limits<std::int64_t>::max()) return std::nullopt;
  }
  if (cut < static_cast<int>(digits.size())) {
    const std::string_view rest = std::string_view(digits).substr(static_cast<std::size_t>(std::max(cut, 0)));
    const bool any = rest.find_first_not_of('0') != std::string_view::npos;
    if (any && rounded) *rounded = true;
    if (cut >= 0 && any) {
      const bool exactly_half = rest[0] == '5' && rest.find_first_not_of('0', 1) == std::string_view::npos;
      if (rest[0] > '5' || (rest[0] == '5' && (!exactly_half || value % 2 != 0))) value += 1;
    }
  }
  if (value > std::numeric_limits<std::int64_t>::max()) return std::nullopt;
  return model::NanoUsdPerMillion{static_cast<std::int64_t>(value)};
}

Cost PriceBook::cost(const Quote& quote, const model::Usage& usage) {
  Cost result{std::nullopt, quote.status};
  if (quote.status == model::PriceStatus::kUnpriced) return result;
  if (!usage.input_tokens && !usage.output_tokens && !has(quote, RateUnit::kRequest)) return result;

  bool estimated = false;
  const auto counted = [&](const std::optional<std::uint64_t>& count, std::uint64_t available) {
    const std::uint64_t value = count.value_or(0);
    if (value > available) estimated = true;  // a subset larger than its total: the counters contradict each other
    return std::min(value, available);
  };
  const std::uint64_t input = counted(usage.input_tokens, kMaxCount);
  const std::uint64_t output = counted(usage.output_tokens, kMaxCount);
  const std::uint64_t cache_read = counted(usage.cache_read_tokens, input);
  const std::uint64_t cache_write = counted(usage.cache_write_tokens, input - cache_read);
  const std::uint64_t cache_write_1h = counted(usage.cache_write_1h_tokens, cache_write);
  const std::uint64_t audio_input = counted(usage.audio_input_tokens, input - cache_read - cache_write);
  const std::uint64_t reasoning = counted(usage.reasoning_tokens, output);
  const std::uint64_t audio_output = counted(usage.audio_output_tokens, output - reasoning);

  model::Int128 sum = 0;
  bool unpriced = false;
  const auto charge = [&](RateUnit unit, std::uint64_t count) {
    if (count == 0) return;
    const Rate* rate = rate_of(quote, unit);
    if (!rate) {
      // Models billed per request have no token rates; searches without a rate are known to cost something.
      if (unit == RateUnit::kWebSearch)
        estimated = true;
      else if (!has(quote, RateUnit::kRequest))
        unpriced = true;
      return;
    }
    // A missing cache discount may not be guessed; the other stand-ins are how providers bill.
    if (unit == RateUnit::kCacheRead && !has(quote, unit)) estimated = true;
    sum += model::Int128{step_of(*rate, input)} * count;
  };
  charge(RateUnit::kInput, input - cache_read - cache_write - audio_input);
  charge(RateUnit::kCacheRead, cache_read);
  charge(RateUnit::kCacheWrite, cache_write - cache_write_1h);
  charge(RateUnit::kCacheWrite1h, cache_write_1h);
  charge(RateUnit::kAudioInput, audio_input);
  charge(RateUnit::kOutput, output - reasoning - audio_output);
  charge(RateUnit::kReasoning, reasoning);
  charge(RateUnit::kAudioOutput, audio_output);
  charge(RateUnit::kWebSearch, counted(usage.web_search_requests, kMaxCount));
  if (has(quote, RateUnit::kRequest)) charge(RateUnit::kRequest, 1);
  if (unpriced) {
    result.status = model::PriceStatus::kUnpriced;
    return result;
  }
  result.amount = divide_up(sum, quote.multiplier_permille);
  if (estimated) result.status = worst(result.status, model::PriceStatus::kEstimated);
  return result;
}

Cost PriceBook::estimate_upper(const model::Exchange& exchange, std::uint64_t input_tokens, std::uint64_t output_tokens,
                               bool strict) const {
  return estimate_upper(lookup(exchange), input_tokens, output_tokens, strict);
}

Cost PriceBook::estimate_upper(const Quote& quote, std::uint64_t input_tokens, std::uint64_t output_tokens,
                               bool strict) {
  Cost result{std::nullopt, quote.status};
  if (quote.status == model::PriceStatus::kUnpriced) return result;
  const std::uint64_t input = std::min(input_tokens, kMaxCount);
  const std::uint64_t output = std::min(output_tokens, kMaxCount);
  const auto dearest = [&](std::initializer_list<RateUnit> units) -> std::optional<std::int64_t> {
    std::optional<std::int64_t> value;
    for (RateUnit unit : units) {
      const Rate* rate = strict ? rate_of(quote, unit) : quote.rates[static_cast<std::size_t>(unit)];
      if (rate) value = std::max(value.value_or(0), strict ? dearest_step(*rate, input) : step_of(*rate, input));
    }
    return value;
  };
  const auto in = strict ? dearest({RateUnit::kInput, RateUnit::kCacheWrite, RateUnit::kCacheWrite1h,
                                    RateUnit::kAudioInput, RateUnit::kCacheRead})
                         : dearest({RateUnit::kInput});
  const auto out = strict ? dearest({RateUnit::kOutput, RateUnit::kReasoning, RateUnit::kAudioOutput})
                          : dearest({RateUnit::kOutput, RateUnit::kReasoning});
  const bool per_request = has(quote, RateUnit::kRequest);
  if (!in && !per_request) {
    result.status = model::PriceStatus::kUnpriced;
    return result;
  }
  // Models without an output rate (embeddings) have no output to pay for.
  model::Int128 sum = model::Int128{in.value_or(0)} * input + model::Int128{out.value_or(0)} * output;
  if (per_request) sum += quote.rates[static_cast<std::size_t>(RateUnit::kRequest)]->base.value;
  result.amount = divide_up(sum, quote.multiplier_permille);
  return result;
}

}  // namespace penstock::ledger
