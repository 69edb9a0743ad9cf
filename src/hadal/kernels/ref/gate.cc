#include "hadal/kernels/ref/gate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "hadal/base/check.h"

namespace hadal::kernels::ref {
namespace {

// Indices of the `count` greatest values among `candidates`, best first; of equals, the earlier
// candidate.
std::vector<int32_t> best(std::span<const float> values, std::vector<int32_t> candidates,
                          int32_t count) {
  std::vector<int32_t> chosen;
  while (static_cast<int32_t>(chosen.size()) < count && !candidates.empty()) {
    auto winner = candidates.begin();
    for (auto i = candidates.begin(); i != candidates.end(); ++i) {
      if (values[*i] > values[*winner]) winner = i;
    }
    chosen.push_back(*winner);
    candidates.erase(winner);
  }
  return chosen;
}

std::vector<int32_t> range(int32_t begin, int32_t end) {
  std::vector<int32_t> values(static_cast<size_t>(end - begin));
  std::iota(values.begin(), values.end(), begin);
  return values;
}

float group_score(GateFunction function, std::span<const float> scores, int32_t begin,
                  int32_t end) {
  const std::vector<int32_t> two = best(scores, range(begin, end), 2);
  if (function == GateFunction::kSoftmax || two.size() < 2) return scores[two[0]];
  return scores[two[0]] + scores[two[1]];
}

// The experts of the groups that stay, ascending.
std::vector<int32_t> candidates_of(const GateConfig& config, std::span<const float> scores) {
  const auto experts = static_cast<int32_t>(scores.size());
  HADAL_CHECK(config.groups >= 1 && experts % config.groups == 0);
  if (config.groups == 1) return range(0, experts);
  HADAL_CHECK(config.groups_used >= 1 && config.groups_used <= config.groups);
  const int32_t size = experts / config.groups;
  std::vector<float> group_scores;
  for (int32_t g = 0; g < config.groups; ++g) {
    group_scores.push_back(group_score(config.function, scores, g * size, (g + 1) * size));
  }
  std::vector<int32_t> groups = best(group_scores, range(0, config.groups), config.groups_used);
  std::sort(groups.begin(), groups.end());
  std::vector<int32_t> candidates;
  for (const int32_t g : groups) {
    for (int32_t e = g * size; e < (g + 1) * size; ++e) candidates.push_back(e);
  }
  return candidates;
}

}  // namespace

std::vector<float> gate_scores(GateFunction function, std::span<const double> logits) {
  std::vector<float> scores;
  if (function == GateFunction::kSigmoid) {
    for (const double x : logits) scores.push_back(static_cast<float>(1.0 / (1.0 + std::exp(-x))));
    return scores;
  }
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double x : logits) sum += std::exp(x - highest);
  for (const double x : logits) scores.push_back(static_cast<float>(std::exp(x - highest) / sum));
  return scores;
}

std::vector<Choice> choose_experts(const GateConfig& config, std::span<const float> scores,
                                   std::span<const float> bias) {
  HADAL_CHECK(config.experts_used >= 1);
  std::vector<float> choice_scores(scores.begin(), scores.end());
  for (size_t e = 0; e < bias.size(); ++e) choice_scores[e] += bias[e];
  const std::vector<int32_t> candidates = candidates_of(config, choice_scores);
  HADAL_CHECK(config.experts_used <= static_cast<int32_t>(candidates.size()));
  std::vector<int32_t> chosen = best(choice_scores, candidates, config.experts_used);
  std::sort(chosen.begin(), chosen.end());

  double sum = 0;
  for (const int32_t e : chosen) sum += scores[e];
  // Sigmoids of very negative logits can all round to 0: then nothing is added, rather than NaN.
  const double divisor = config.normalize && sum > 0 ? sum : 1.0;
  std::vector<Choice> choices;
  for (const int32_t e : chosen) {
    choices.push_back({e, static_cast<float>(scores[e] / divisor * config.scale)});
  }
  return choices;
}

}  // namespace hadal::kernels::ref
