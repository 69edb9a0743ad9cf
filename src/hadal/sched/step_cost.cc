#include "hadal/sched/step_cost.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "hadal/base/check.h"

namespace hadal::sched {
namespace {

// What is believed before anything is known, in units of one row's cost: reading all weights takes
// as long as computing some 16 rows (on CPUs between 5 and 40), attention to 1024 keys a tenth of a
// row.
constexpr std::array<double, StepCost::kTerms> kPrior = {8, 8, 1, 1, 0.1, 0.1};
constexpr double kPriorRows = 16;

// Of an error, what one step corrects: much of it at first, then little, so that noise of 10 %
// makes predictions tremble by 2 %.
constexpr double kGain = 0.2;
// A step may take twice as long as predicted for reasons of its own; what is much faster is true.
constexpr double kSlowerMost = 0.7, kFasterMost = 2.0;  // natural logarithms

}  // namespace

StepCost::StepCost(double expert_share) : untouched_share_(1.0 - expert_share) {
  HADAL_CHECK(expert_share > 0.0 && expert_share <= 1.0);
}

StepCost::Vector StepCost::features(const StepShape& shape) const {
  return {1.0,
          untouched_share_ > 0.0 ? 1.0 - std::pow(untouched_share_, shape.rows()) : 0.0,
          static_cast<double>(shape.decode_rows),
          static_cast<double>(shape.prompt_rows),
          static_cast<double>(shape.decode_keys) / 1024.0,
          static_cast<double>(shape.prompt_keys) / 1024.0};
}

double StepCost::predict(const StepShape& shape) const {
  const Vector x = features(shape);
  double sum = 0.0;
  for (int i = 0; i < kTerms; ++i) sum += x[i] * terms_[i];
  return sum;
}

void StepCost::begin(const StepShape& shape, double seconds) {
  const double unit = seconds / (kPriorRows + shape.rows());
  for (int i = 0; i < kTerms; ++i) terms_[i] = kPrior[i] * unit;
  if (untouched_share_ > 0.0) return;
  terms_[0] += std::exchange(terms_[1], 0.0);  // no experts: one sweep over all weights
}

void StepCost::observe(const StepShape& shape, double seconds) {
  HADAL_CHECK(shape.rows() > 0 && seconds > 0.0);
  if (observed_++ == 0) return begin(shape, seconds);
  const double predicted = predict(shape);
  const double error = std::clamp(std::log(seconds / predicted), -kFasterMost, kSlowerMost);
  Vector shares = features(shape);
  double squares = 0.0;
  for (int i = 0; i < kTerms; ++i) {
    shares[i] *= terms_[i] / predicted;
    squares += shares[i] * shares[i];
  }
  // The prediction moves by exp(gain * error), to first order.
  const double gain = std::max(kGain, 1.0 / std::sqrt(static_cast<double>(observed_)));
  for (int i = 0; i < kTerms; ++i) terms_[i] *= std::exp(gain * error * shares[i] / squares);
}

}  // namespace hadal::sched
