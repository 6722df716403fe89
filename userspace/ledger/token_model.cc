#include "userspace/ledger/token_model.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace penstock::ledger {
namespace {

constexpr double kForget = 1.0 - 1.0 / 1024;
constexpr double kSmallest = 8;        // tokens: below it a relative error says little
constexpr double kPriorWeight = 0.1;   // of one answer that is off by the doubt
constexpr double kSurprise = 0.3;      // relative error from which an answer counts less: something unseen was added
constexpr std::uint64_t kTrusted = 8;  // answers before a surprise is one
constexpr float kSimilar = 1;          // largest distance at which an answer corrects
constexpr double kSimilarityDecay = 2;
constexpr double kSizeOffset = 20;  // bytes: sizes below it are all small
// A fit costs as much as the rest of an answer's accounting, and many answers change it little.
constexpr std::uint64_t kFitEach = 64;   // answers up to which every one is fitted …
constexpr std::uint64_t kFitEvery = 16;  // … and how many are fitted together from then on

template <class A, class B>
double dot(const A& a, const B& b) {
  double sum = 0;
  for (std::size_t i = 0; i < TokenModel::kTerms; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// Sizes differ by their ratio.
std::array<float, TokenModel::kTerms> sizes_of(const TokenModel::Terms& terms) {
  std::array<float, TokenModel::kTerms> sizes;
  std::transform(terms.begin(), terms.end(), sizes.begin(),
                 [](double term) { return static_cast<float>(std::log(term + kSizeOffset)); });
  return sizes;
}

}  // namespace

void TokenModel::learn(const Terms& terms, std::uint64_t tokens) {
  const double count = static_cast<double>(tokens);
  double weight = 1 / std::max(count, kSmallest);
  if (answers_ >= kTrusted) {
    const double off = std::abs(dot(fitted_, terms) - count) / std::max(count, 1.0);
    if (off > kSurprise) weight *= kSurprise / off;
  }
  weight *= weight;
  for (std::size_t i = 0; i < kTerms; ++i) {
    for (std::size_t j = 0; j < kTerms; ++j) square_[i][j] = square_[i][j] * kForget + weight * terms[i] * terms[j];
    product_[i] = product_[i] * kForget + weight * terms[i] * count;
  }
  ++answers_;
  if (answers_ <= kFitEach || answers_ % kFitEvery == 0) fit();
  if (memory_ == 0) return;
  Answer answer;
  std::transform(terms.begin(), terms.end(), answer.terms.begin(),
                 [](double term) { return static_cast<float>(term); });
  answer.sizes = sizes_of(terms);
  answer.tokens = static_cast<float>(count);
  if (remembered_.size() < memory_) {
    remembered_.push_back(answer);
  } else {
    remembered_[answers_ % memory_] = answer;
  }
}

// Gauss's elimination of a symmetric system that the prior keeps regular.
void TokenModel::fit() {
  std::array<std::array<double, kTerms + 1>, kTerms> rows{};
  for (std::size_t i = 0; i < kTerms; ++i) {
    const double certainty = kPriorWeight / doubt_[i];
    std::copy(square_[i].begin(), square_[i].end(), rows[i].begin());
    rows[i][i] += certainty * certainty;
    rows[i][kTerms] = product_[i] + certainty * certainty * prior_[i];
  }
  for (std::size_t i = 0; i < kTerms; ++i) {
    for (std::size_t other = i + 1; other < kTerms; ++other) {
      const double factor = rows[other][i] / rows[i][i];
      for (std::size_t j = i; j <= kTerms; ++j) rows[other][j] -= factor * rows[i][j];
    }
  }
  Terms solved{};
  for (std::size_t i = kTerms; i-- > 0;) {
    double rest = rows[i][kTerms];
    for (std::size_t j = i + 1; j < kTerms; ++j) rest -= rows[i][j] * solved[j];
    solved[i] = rest / rows[i][i];
  }
  if (std::all_of(solved.begin(), solved.end(), [](double value) { return std::isfinite(value); })) fitted_ = solved;
}

std::uint64_t TokenModel::estimate(const Terms& terms) const {
  double tokens = dot(fitted_, terms);
  const std::size_t known = remembered_.size();
  const Answer* nearest = nullptr;
  float least = kSimilar;
  const auto sizes = memory_ == 0 ? decltype(Answer::sizes){} : sizes_of(terms);
  // From the latest backwards: of equals the latest, and nothing is nearer than the same.
  std::size_t at = known > 0 && known == memory_ ? answers_ % memory_ + 1 : known;
  for (std::size_t i = 0; i < known && least > 0; ++i) {
    at = (at == 0 ? known : at) - 1;
    const Answer& answer = remembered_[at];
    float apart = 0;
    for (std::size_t term = 1; term < kTerms; ++term) apart += std::abs(answer.sizes[term] - sizes[term]);
    if (apart < least) {
      least = apart;
      nearest = &answer;
    }
  }
  if (nearest != nullptr) {
    const double corrected = static_cast<double>(nearest->tokens) + tokens - dot(fitted_, nearest->terms);
    const double share = std::exp(-kSimilarityDecay * least);
    if (corrected > 0) tokens = share * corrected + (1 - share) * tokens;
  }
  constexpr double kMost = static_cast<double>(std::uint64_t{1} << 40);
  return static_cast<std::uint64_t>(std::llround(std::clamp(tokens, 1.0, kMost)));
}

}  // namespace penstock::ledger
