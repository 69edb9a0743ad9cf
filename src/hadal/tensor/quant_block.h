// Private to tensor/quant: one block at a time, and the searches for scales that encoders share.
#pragma once

#include <span>

#include "hadal/tensor/blocks.h"

namespace hadal::quant {

void decode(const BlockQ4_0& block, float* values);
void decode(const BlockQ4_1& block, float* values);
void decode(const BlockQ5_0& block, float* values);
void decode(const BlockQ5_1& block, float* values);
void decode(const BlockQ8_0& block, float* values);
void decode(const BlockQ2_K& block, float* values);
void decode(const BlockQ3_K& block, float* values);
void decode(const BlockQ4_K& block, float* values);
void decode(const BlockQ5_K& block, float* values);
void decode(const BlockQ6_K& block, float* values);
void decode(const BlockIQ4_NL& block, float* values);
void decode(const BlockIQ4_XS& block, float* values);
void decode(const BlockMXFP4& block, float* values);

// `values` are finite; `block` is overwritten whole.
void encode(const float* values, BlockQ4_0& block);
void encode(const float* values, BlockQ4_1& block);
void encode(const float* values, BlockQ5_0& block);
void encode(const float* values, BlockQ5_1& block);
void encode(const float* values, BlockQ8_0& block);
void encode(const float* values, BlockQ2_K& block);
void encode(const float* values, BlockQ3_K& block);
void encode(const float* values, BlockQ4_K& block);
void encode(const float* values, BlockQ5_K& block);
void encode(const float* values, BlockQ6_K& block);
void encode(const float* values, BlockIQ4_NL& block);
void encode(const float* values, BlockIQ4_XS& block);
void encode(const float* values, BlockMXFP4& block);

float load_f16(F16Bytes bytes);
// Stores the nearest finite half and returns what it will be read as.
float store_f16(float value, F16Bytes& bytes);

// The code in [low, high] nearest to `scaled`; halves go to even.
inline int nearest_code(float scaled, int low, int high) {
  const float floor = static_cast<float>(low);
  const float ceiling = static_cast<float>(high);
  const float clamped = scaled > floor ? (scaled < ceiling ? scaled : ceiling) : floor;
  // Adding 1.5 * 2^23 leaves the rounded integer in the low mantissa bits: exact below 2^22, and it
  // vectorises on machines without a rounding instruction.
  return static_cast<int>((clamped + 12582912.0f) - 12582912.0f);
}

// 1 / x, or 0 for a scale that decodes everything to 0.
inline float inverse_or_zero(float x) { return x != 0.0f ? 1.0f / x : 0.0f; }

// The scale s (of either sign) that makes sum (x - s q)^2 small for codes q in [low, high], |low|
// >= high.
float fit_scale(std::span<const float> values, int low, int high);

struct Affine {
  float scale = 0;    // >= 0
  float minimum = 0;  // value = scale * code + minimum
  float error = 0;    // sum of squared differences
};

// The line that makes sum (x - s q - m)^2 small for codes q in [0, high]. With
// `minimum_at_most_zero`, m <= 0, as the K-quants store -m unsigned.
Affine fit_affine(std::span<const float> values, int high, bool minimum_at_most_zero);

}  // namespace hadal::quant
