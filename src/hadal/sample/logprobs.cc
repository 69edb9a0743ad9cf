#include "hadal/sample/logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "hadal/base/check.h"
#include "hadal/sample/select.h"

namespace hadal {

TokenLogprob token_logprob(std::span<const float> logits, TokenId token, int32_t top) {
  constexpr float kNever = -9999.0f;
  constexpr float kLargest = std::numeric_limits<float>::max();
  HADAL_CHECK(token >= 0 && static_cast<size_t>(token) < logits.size() && top >= 0);
  const float most = std::min(select_first(logits).logit, kLargest);
  double sum = 0.0;
  for (const float logit : logits) {
    if (!std::isnan(logit)) sum += std::exp(std::min(logit, kLargest) - most);
  }
  const double log_sum = std::log(sum);
  const auto logprob = [&](float logit) {
    const double value = static_cast<double>(std::min(logit, kLargest)) - most - log_sum;
    return std::isnan(value) ? kNever : std::max(static_cast<float>(value), kNever);
  };
  TokenLogprob result{token, logprob(logits[static_cast<size_t>(token)]), {}};
  if (top == 0) return result;
  std::vector<Candidate> best;
  select_best(logits, static_cast<size_t>(top), best);
  result.top.reserve(best.size());
  for (const Candidate& candidate : best) {
    result.top.emplace_back(candidate.token, logprob(candidate.logit));
  }
  return result;
}

}  // namespace hadal
