// What a call has taken where its provider does not say: one model of the input and one of the output per provider and
// model name, each learnt from the answers that did say, with what is known of the tokenizer's family to begin with.
// Thread: one (the ledger's). Memory: a bounded number of models; those beyond it are estimated by their family.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "userspace/ledger/token_model.h"
#include "userspace/model/exchange.h"

namespace penstock::ledger {

// "provider/model" of a call, bounded: by which models are known. Built in place, call after call.
class ModelKey {
 public:
  const std::string& of(const model::Exchange& exchange);

 private:
  std::string text_;
};

class UsageModels {
 public:
  explicit UsageModels(std::size_t max_models);

  // Expected tokens of the request's text and tools; media are not in it.
  std::uint64_t input_tokens(const model::Exchange& exchange) const;
  // Expected tokens of the answer as far as it was seen; 0 when nothing was.
  std::uint64_t output_tokens(const model::Exchange& exchange) const;
  // How many answers have taught the model of this exchange what prompts take.
  std::uint64_t answers(const model::Exchange& exchange) const;
  // Feed completed exchanges with exact usage.
  void learn(const model::Exchange& exchange);

 private:
  struct Pair {
    TokenModel input;
    TokenModel output;
    std::size_t family = 0;
    double hidden_tokens = 0;   // per answer, what is thought and not shown
    std::uint32_t answers = 0;  // that have told
  };
  const Pair& find(const model::Exchange& exchange) const;
  // What an answer teaches: the model's own, null when there is no room for it, and its family's.
  std::array<Pair*, 2> taught_by(const model::Exchange& exchange);

  std::size_t max_models_;
  mutable ModelKey key_;
  std::unordered_map<std::string, Pair> models_;
  std::vector<Pair> families_;
};

// Tools that run at the provider are offered by reserved names; their results are input that no request shows.
bool offers_server_side_tools(const model::RequestFacts& facts);

}  // namespace penstock::ledger
