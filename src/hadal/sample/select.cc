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

namespace {

constexpr size_t kBlock = 256;

// -inf where there is no number. Lane by lane, so that compilers make vectors of it.
float greatest_of_block(const float* logits) {
  constexpr size_t kLanes = 16;
  float most[kLanes];
  std::ranges::fill(most, -std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < kBlock; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const float x = logits[i + lane];
      most[lane] = x > most[lane] ? x : most[lane];  // false for NaN
    }
  }
  return *std::ranges::max_element(most);
}

}  // namespace

Candidate select_first(std::span<const float> logits) {
  Candidate best{-std::numeric_limits<float>::infinity(), -1};
  size_t i = 0, block = 0;  // block: where the best begins to be looked for
  for (; i + kBlock <= logits.size(); i += kBlock) {
    const float most = greatest_of_block(logits.data() + i);
    if (most <= best.logit) continue;
    best.logit = most;
    block = i;
  }
  if (best.logit > -std::numeric_limits<float>::infinity()) {
    while (logits[block] != best.logit) ++block;
    best = {logits[block], static_cast<TokenId>(block)};  // of zeros, the one that is there
  }
  for (; i < logits.size(); ++i) {
    if (logits[i] > best.logit) best = {logits[i], static_cast<TokenId>(i)};
  }
  return best;
}

}  // namespace hadal
