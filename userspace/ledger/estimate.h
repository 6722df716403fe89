// Token estimates: what a call may take, before it is made; what it has taken, while it streams; what to charge at its
// end. Learns from exact answers how many tokens a model makes of how much text, and the 99th percentile of its
// answers' lengths. Thread: one (the ledger's). Memory: bounded number of models; names beyond it share one entry.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "userspace/ledger/ledger.h"
#include "userspace/ledger/prices.h"
#include "userspace/ledger/usage_models.h"
#include "userspace/model/exchange.h"

namespace penstock::ledger {

enum class OutputBasis : std::uint8_t { kRequested, kLearnt, kModelMax, kConfigured };

struct TokenEstimate {
  std::uint64_t input_tokens = 0;
  std::uint64_t output_tokens = 0;
  OutputBasis output_basis = OutputBasis::kConfigured;
  // False: the true figure may be larger than a strict estimate, because the provider adds input that is not in the
  // request (a stored conversation, a server-side tool) or because nothing bounds the answer. A strict policy may
  // refuse it.
  bool bounded = true;
};

// How to charge a finished exchange.
struct Settlement {
  Amounts amounts;
  SettleStatus status = SettleStatus::kExact;
  bool upper = false;        // nothing is known: use Ledger::settle_estimated (the reservation stands)
  std::optional<Cost> cost;  // of what the provider reported, where that is whole
};

class Estimator {
 public:
  struct Options {
    std::uint64_t default_output_tokens = 4096;  // per answer, when nothing else is known
    std::uint64_t tokens_per_media_part = 1600;  // non-strict guess of an image, an audio clip, a file
    std::uint64_t strict_tokens_per_media_part = 50'000;
    std::size_t max_models = 512;
    std::uint64_t min_samples = 20;  // answers before a learnt percentile is used
  };
  // `prices` outlives the estimator.
  Estimator(const Options& options, const PriceBook* prices);

  // `strict`: an upper bound of what can be billed for what is in the request (see estimate.cc), else the expected
  // size.
  TokenEstimate tokens(const model::Exchange& exchange, bool strict) const;
  // What an answer that reports nothing has taken, as far as it was seen.
  model::Usage expected_usage(const model::Exchange& exchange) const;
  // The same in money: what to reserve. `cost` absent when unpriced.
  Amounts reserve_amounts(const model::Exchange& exchange, bool strict) const;
  // Of it, the input.
  std::uint64_t expected_input(const model::Exchange& exchange) const;
  // Taken so far: the counters reported in the stream, else the expected input + output_text_bytes. The second form is
  // for who asks at every chunk.
  Amounts progress_amounts(const model::Exchange& exchange) const;
  Amounts progress_amounts(const model::Exchange& exchange, std::uint64_t expected_input) const;
  // At the end. Exact where the provider reported usage; an error answer (status >= 400) without usage costs nothing
  // but the request; an answer without usage is estimated from its text; a cut or incomplete one stands at its
  // reservation.
  Settlement settlement(const model::Exchange& exchange) const;
  // Feed completed exchanges with exact usage.
  void learn(const model::Exchange& exchange);

 private:
  struct Learnt {
    std::vector<std::uint32_t> output_histogram;  // four buckets per power of two, decaying
    std::uint64_t output_samples = 0;
  };
  const Learnt* find(const model::Exchange& exchange) const;
  TokenEstimate tokens(const model::Exchange& exchange, const Quote& quote, bool strict) const;
  Amounts taken(const model::Exchange& exchange, std::uint64_t expected_input, std::uint64_t output_tokens) const;
  static std::optional<std::uint64_t> percentile99(const Learnt& learnt);

  Options options_;
  const PriceBook* prices_;
  UsageModels usage_;
  mutable ModelKey key_;
  std::unordered_map<std::string, Learnt> models_;
};

// Input plus output tokens of the exchange and its iterations; nullopt when neither is known.
std::optional<std::uint64_t> total_tokens(const model::Exchange& exchange);

}  // namespace penstock::ledger
