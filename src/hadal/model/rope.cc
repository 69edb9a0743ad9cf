#include "hadal/model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hadal {

std::vector<float> rope_frequencies(int32_t dims, double theta) {
  std::vector<float> frequencies(static_cast<size_t>(dims / 2));
  for (size_t j = 0; j < frequencies.size(); ++j) {
    frequencies[j] = static_cast<float>(
        1.0 / std::pow(theta, 2.0 * static_cast<double>(j) / static_cast<double>(dims)));
  }
  return frequencies;
}

void apply_yarn(std::span<float> frequencies, double theta, const YarnParams& params) {
  const double dims = 2.0 * static_cast<double>(frequencies.size());
  // The pair that turns `turns` times within the original context.
  const auto pair_of = [&](double turns) {
    return dims * std::log(params.original_context / (turns * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(theta));
  };
  const double low = std::max(std::floor(pair_of(params.beta_fast)), 0.0);
  double high = std::min(std::ceil(pair_of(params.beta_slow)), dims - 1.0);
  if (low == high) high += 0.001;  // as the published code: a step instead of a division by zero
  for (size_t j = 0; j < frequencies.size(); ++j) {
    const double ramp = std::clamp((static_cast<double>(j) - low) / (high - low), 0.0, 1.0);
    const double frequency = frequencies[j];
    frequencies[j] =
        static_cast<float>(frequency / params.factor * ramp + frequency * (1.0 - ramp));
  }
}

double yarn_magnitude(double factor, double weight) {
  return factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

void apply_llama3(std::span<float> frequencies, const Llama3RopeParams& params) {
  for (float& frequency : frequencies) {
    const double turns = params.original_context * frequency / (2.0 * std::numbers::pi);
    const double band = params.high_frequency_factor - params.low_frequency_factor;
    // 0: fully divided, 1: kept.
    const double smooth = std::clamp((turns - params.low_frequency_factor) / band, 0.0, 1.0);
    frequency = static_cast<float>((1.0 - smooth) * frequency / params.factor + smooth * frequency);
  }
}

void rope_row(const RopeConfig& rope, int32_t position, float* cos, float* sin) {
  for (size_t j = 0; j < rope.frequencies.size(); ++j) {
    // The product in f32, as the models were trained with; sine and cosine of it in double.
    const float angle = static_cast<float>(position) * rope.frequencies[j];
    cos[j] = static_cast<float>(std::cos(static_cast<double>(angle))) * rope.magnitude;
    sin[j] = static_cast<float>(std::sin(static_cast<double>(angle))) * rope.magnitude;
  }
}

RopeAngles::RopeAngles(const RopeConfig& rope)
    : rope_(rope), positions_(kRows, -1), angles_(kRows * 2 * rope.frequencies.size()) {}

void RopeAngles::row(int32_t position, float* cos, float* sin) {
  const size_t half = rope_.frequencies.size();
  const auto at = static_cast<size_t>(position % kRows);
  float* kept = angles_.data() + at * 2 * half;
  if (positions_[at] != position) {
    rope_row(rope_, position, kept, kept + half);
    positions_[at] = position;
  }
  std::copy_n(kept, half, cos);
  std::copy_n(kept + half, half, sin);
}

}  // namespace hadal
