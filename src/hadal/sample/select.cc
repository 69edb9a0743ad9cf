#include "hadal/sample/select.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <ranges>

namespace hadal {

bool is_better(const Candidate& left, const Candidate& right) {
  if (left.logit != right.logit) return left.logit > right.logit;
  return left.token < right.token;
}

void select_best(std::span<const float> logits, size_t count, std::vector<Candidate>& best) {
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  best.resize(std::min(count, logits.size()));
  const auto candidate = [logits](size_t i) {
    return Candidate{std::isnan(logits[i]) ? kNothing : logits[i], static_cast<TokenId>(i)};
  };
  std::ranges::partial_sort_copy(
      std::views::iota(size_t{0}, logits.size()) | std::views::transform(candidate), best,
      is_better);
}

Candidate select_first(std::span<const float> logits) {
  Candidate best{-std::numeric_limits<float>::infinity(), -1};
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > best.logit) best = {logits[i], static_cast<TokenId>(i)};  // false for NaN
  }
  return best;
}

}  // namespace hadal
