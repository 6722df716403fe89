// Prices: from token counts to money. Rates are integer nano-dollars per 10^6 units, read from decimal text; a cost is
// summed in 128 bits and divided once, rounded up. Nothing here is a floating-point number.
//
// The bundle is compiled into the program (data/prices); an operator's file adds to it and wins over it.
// Thread: load() anywhere; lookups and counters on one thread (they count and warn); search(), bundle() and stale() on
// any. Failure: load() reports a broken operator file with file:line:column. A name without a price is an answer
// (kUnpriced).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/base/result.h"
#include "userspace/model/exchange.h"
#include "userspace/model/money.h"

namespace penstock::ledger {

enum class RateUnit : std::uint8_t {
  kInput,
  kOutput,
  kCacheRead,
  kCacheWrite,
  kCacheWrite1h,
  kReasoning,
  kAudioInput,
  kAudioOutput,
  kWebSearch,
  kRequest,
};
inline constexpr std::size_t kRateUnits = 10;
std::string_view name(RateUnit);

enum class ServiceTier : std::uint8_t { kStandard, kBatch, kFlex, kPriority };
std::string_view name(ServiceTier);

struct RateStep {
  std::uint64_t above_input_tokens = 0;  // strictly more total input than this: the step applies to every token
  model::NanoUsdPerMillion rate;
};
struct Rate {
  model::NanoUsdPerMillion base;
  std::vector<RateStep> steps;  // ascending
};

// Decimal text of dollars per 10^6 units -> nano-dollars per 10^6 units, rounded half to even. nullopt: not a plain
// non-negative decimal (exponents allowed), or out of range. `rounded` tells whether digits were lost.
std::optional<model::NanoUsdPerMillion> parse_rate(std::string_view text, bool* rounded = nullptr);

struct PriceQuery {
  std::string_view provider;  // OpenTelemetry gen_ai.provider.name
  std::string_view host;      // without port
  std::uint16_t port = 0;     // 0: unknown
  std::string_view response_model;
  std::string_view request_model;
  std::int64_t when_real_ns = 0;  // time of the request
  std::string_view service_tier;  // of the response, else of the request
  bool batch = false;             // batch endpoint
};

// The rates in force for one call. A copy of nothing: valid as long as the book.
struct Quote {
  model::PriceStatus status = model::PriceStatus::kUnpriced;
  std::array<const Rate*, kRateUnits> rates{};  // null: no rate of its own
  std::uint32_t multiplier_permille = 1000;     // regional uplift
  std::optional<std::uint64_t> max_output_tokens;
  std::optional<std::uint64_t> context_tokens;
  std::string_view provider;  // of the price list
  std::string_view model;     // label of the row
  std::string_view source;    // genai-prices, litellm, operator
};

struct Cost {
  std::optional<model::NanoUsd> amount;  // absent: unpriced, or no usage to price
  model::PriceStatus status = model::PriceStatus::kUnpriced;
};

struct PriceListing {
  std::string provider, model, source, valid_from, valid_to;
  ServiceTier tier = ServiceTier::kStandard;
  std::array<std::optional<Rate>, kRateUnits> rates;
  std::optional<std::uint64_t> max_output_tokens, context_tokens;
};

struct BundleInfo {
  std::string date;                  // YYYY-MM-DD of the newest source
  std::vector<std::string> sources;  // "genai-prices 2026-08-21 MIT sha256:…"
  std::size_t providers = 0, models = 0, operator_rows = 0;
  std::vector<std::string> rounded;  // "provider/model unit text": rates that had more digits than fit
  std::vector<std::string> refused;  // rates above 1000 $/10^6 that nobody pinned
};

class PriceBook {
 public:
  struct Endpoint {
    std::string host;  // the operator says that this host is that provider: its prices are then exact
    std::string provider;
    std::uint16_t port = 0;  // 0: every port
  };
  struct Options {
    std::string operator_file;        // YAML, `prices: FILE`; empty: none
    std::vector<Endpoint> endpoints;  // from the `endpoints:` configuration
  };
  struct Lookups {
    std::uint64_t exact = 0, alias = 0, estimated = 0, unpriced = 0;
  };

  static base::Result<PriceBook> load(const Options& options);
  // For tests and tools: another bundle text than the embedded one, and operator YAML given as text.
  static base::Result<PriceBook> from_text(std::string_view bundle, std::string_view operator_yaml,
                                           const std::vector<Endpoint>& endpoints = {},
                                           std::string_view operator_name = "prices.yaml");
  PriceBook(PriceBook&&) noexcept;
  PriceBook& operator=(PriceBook&&) noexcept;
  ~PriceBook();

  Quote lookup(const PriceQuery& query) const;
  Quote lookup(const model::Exchange& exchange) const;
  // Of the exchange's usage and its iterations. Counts one lookup.
  Cost cost(const model::Exchange& exchange) const;
  // Price of a call before it is made. Plain: all input at the input rate, all output at the dearer of output and
  // reasoning, the step of `input_tokens`. `strict`: the dearest rate that any input or output up to these counts can
  // be billed at (cache writes, audio, every step in reach). Absent amount: unpriced.
  Cost estimate_upper(const model::Exchange& exchange, std::uint64_t input_tokens, std::uint64_t output_tokens,
                      bool strict = false) const;
  // The same two under a quote that is at hand.
  static Cost cost(const Quote& quote, const model::Usage& usage);
  static Cost estimate_upper(const Quote& quote, std::uint64_t input_tokens, std::uint64_t output_tokens,
                             bool strict = false);

  std::optional<std::uint64_t> max_output_tokens(const model::Exchange& exchange) const;
  // Some provider has a model of exactly this name: it is no invention of a caller.
  bool lists(std::string_view model) const;
  const Lookups& lookups() const;

  // Case-insensitive substring of provider or model; rows in force and future ones.
  std::vector<PriceListing> search(std::string_view text, std::size_t limit) const;
  const BundleInfo& bundle() const;
  // Older than 90 days: prices should be updated.
  bool stale(std::int64_t real_ns) const;

 private:
  class Impl;
  explicit PriceBook(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// exact < alias < estimated < unpriced.
model::PriceStatus worst(model::PriceStatus a, model::PriceStatus b);

}  // namespace penstock::ledger
