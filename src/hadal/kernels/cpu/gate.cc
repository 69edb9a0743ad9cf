#include "hadal/kernels/cpu/gate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "hadal/base/check.h"

namespace hadal::kernels::cpu {
namespace {

void score(GateFunction function, std::span<const float> logits, float* scores) {
  if (function == GateFunction::kSigmoid) {
    for (const double x : logits) *scores++ = static_cast<float>(1.0 / (1.0 + std::exp(-x)));
    return;
  }
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double x : logits) sum += std::exp(x - highest);
  for (const double x : logits) *scores++ = static_cast<float>(std::exp(x - highest) / sum);
}

// Moves the `count` candidates of greatest value to the front, best first; of equals the earlier.
// Those behind keep their order.
void best_first(const float* values, std::span<int32_t> candidates, int32_t count) {
  for (int32_t i = 0; i < count; ++i) {
    auto winner = candidates.begin() + i;
    for (auto at = winner + 1; at != candidates.end(); ++at) {
      if (values[*at] > values[*winner]) winner = at;
    }
    std::rotate(candidates.begin() + i, winner, winner + 1);
  }
}

// scores: [size], of a group's experts.
float group_score(GateFunction function, const float* scores, int32_t size) {
  const auto greatest = [scores, size](int32_t except) {
    int32_t at = except == 0 ? 1 : 0;
    for (int32_t e = at + 1; e < size; ++e) {
      if (e != except && scores[e] > scores[at]) at = e;
    }
    return at;
  };
  const int32_t first = greatest(-1);
  if (function == GateFunction::kSoftmax || size < 2) return scores[first];
  return scores[first] + scores[greatest(first)];
}

// The experts of the groups that stay, ascending, at the front of candidates[experts]; how many.
int32_t keep_groups(const GateConfig& config, const float* scores, std::span<int32_t> candidates,
                    Scratch& scratch) {
  const auto experts = static_cast<int32_t>(candidates.size());
  HADAL_CHECK(config.groups >= 1 && experts % config.groups == 0);
  if (config.groups == 1) {
    std::iota(candidates.begin(), candidates.end(), 0);
    return experts;
  }
  HADAL_CHECK(config.groups_used >= 1 && config.groups_used <= config.groups);
  const int32_t size = experts / config.groups;
  auto* group_scores = scratch.take<float>(config.groups);
  const std::span groups(scratch.take<int32_t>(config.groups), static_cast<size_t>(config.groups));
  for (int32_t g = 0; g < config.groups; ++g) {
    groups[g] = g;
    group_scores[g] = group_score(config.function, scores + g * size, size);
  }
  best_first(group_scores, groups, config.groups_used);
  std::sort(groups.begin(), groups.begin() + config.groups_used);
  int32_t count = 0;
  for (int32_t i = 0; i < config.groups_used; ++i) {
    for (int32_t e = 0; e < size; ++e) candidates[count++] = groups[i] * size + e;
  }
  return count;
}

}  // namespace

void choose_experts(const GateConfig& config, std::span<const float> logits,
                    std::span<const float> bias, Scratch& scratch, ref::Choice* choices) {
  const Scratch::Frame frame(scratch);
  const auto experts = static_cast<int64_t>(logits.size());
  auto* scores = scratch.take<float>(experts);
  auto* biased = scratch.take<float>(experts);
  score(config.function, logits, scores);
  std::copy_n(scores, experts, biased);
  for (size_t e = 0; e < bias.size(); ++e) biased[e] += bias[e];

  const std::span candidates(scratch.take<int32_t>(experts), logits.size());
  const int32_t count = keep_groups(config, biased, candidates, scratch);
  HADAL_CHECK(config.experts_used >= 1 && config.experts_used <= count);
  best_first(biased, candidates.first(count), config.experts_used);
  const auto chosen = candidates.first(config.experts_used);
  std::sort(chosen.begin(), chosen.end());

  double sum = 0;
  for (const int32_t e : chosen) sum += scores[e];
  // Sigmoids of very negative logits can all round to 0: then nothing is added, rather than NaN.
  const double divisor = config.normalize && sum > 0 ? sum : 1.0;
  for (const int32_t e : chosen) {
    *choices++ = {e, static_cast<float>(scores[e] / divisor * config.scale)};
  }
}

}  // namespace hadal::kernels::cpu
