// How many tokens something takes, by its sizes, learnt from what providers have reported: a linear model fitted by
// least squares of the relative error, which forgets slowly, leans on a prior while little is known, and is corrected
// by the most similar answer remembered (agents send the same prompt again, a little longer). Token counts only: money
// stays integer. Thread: the owner's. Memory: bounded, about 13 KiB.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace penstock::ledger {

class TokenModel {
 public:
  static constexpr std::size_t kTerms = 6;
  using Terms = std::array<double, kTerms>;  // the first is 1; what a model does not use is 0
  struct Prior {
    Terms coefficients;
    Terms doubt;  // how far a coefficient may be off, in its own unit
    // Answers remembered to correct by. A prompt of about the same size is likely the same one; an answer is not.
    std::size_t memory = 0;
  };

  explicit TokenModel(const Prior& prior)
      : doubt_(prior.doubt), prior_(prior.coefficients), fitted_(prior.coefficients), memory_(prior.memory) {}

  void learn(const Terms& terms, std::uint64_t tokens);
  std::uint64_t estimate(const Terms& terms) const;
  const Terms& coefficients() const { return fitted_; }
  std::uint64_t answers() const { return answers_; }

 private:
  struct Answer {
    std::array<float, kTerms> terms{};
    std::array<float, kTerms> sizes{};  // the terms as they are compared
    float tokens = 0;
  };
  void fit();

  Terms doubt_;
  Terms prior_;
  Terms fitted_;
  std::size_t memory_;
  std::array<Terms, kTerms> square_{};  // sum of terms x terms, weighted
  Terms product_{};                     // sum of terms x tokens, weighted
  std::vector<Answer> remembered_;      // a ring
  std::uint64_t answers_ = 0;
};

}  // namespace penstock::ledger
