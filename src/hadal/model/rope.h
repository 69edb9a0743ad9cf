// Rotary frequencies with each family's way of stretching them over longer contexts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "hadal/kernels/op/attention.h"
#include "hadal/model/config.h"

namespace hadal {

// theta^(-2j/dims) for j in [0, dims / 2).
std::vector<float> rope_frequencies(int32_t dims, double theta);

// YaRN (Peng et al., 2023), as in DeepSeek's published model code: pairs that turn more than
// `beta_fast` times within the original context keep their frequency, those under `beta_slow` are
// divided by `factor`, a linear ramp lies between.
struct YarnParams {
  double factor = 1.0;
  double original_context = 4096;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
};
void apply_yarn(std::span<float> frequencies, double theta, const YarnParams& params);
// 0.1 * weight * ln(factor) + 1, and 1 for factors up to 1.
double yarn_magnitude(double factor, double weight);

// Llama-3's stretching: long waves are divided by `factor`, short ones kept, a smooth band between.
struct Llama3RopeParams {
  double factor = 8.0;
  double low_frequency_factor = 1.0;
  double high_frequency_factor = 4.0;
  double original_context = 8192;
};
void apply_llama3(std::span<float> frequencies, const Llama3RopeParams& params);

// cos and sin of one position: cos[j], sin[j] for j in [0, dims / 2), times magnitude.
void rope_row(const RopeConfig& rope, int32_t position, float* cos, float* sin);

// rope_row() that remembers: steps that guess come back to a position two or three times, and sines
// take longer than the rest of what a row's position asks for.
class RopeAngles {
 public:
  explicit RopeAngles(const RopeConfig& rope);  // must outlive it
  void row(int32_t position, float* cos, float* sin);

 private:
  static constexpr int32_t kRows = 256;
  const RopeConfig& rope_;
  std::vector<int32_t>
      positions_;              // [kRows]: whose angles those are, at position % kRows; -1: none
  std::vector<float> angles_;  // [kRows][cosines, sines]
};

}  // namespace hadal
