// The 256-element types, whose sub-blocks have small integer scales: Q2_K to Q6_K.
#include <algorithm>
#include <cmath>

#include "hadal/tensor/quant_block.h"

namespace hadal::quant {
namespace {

constexpr int kElements = 256;

// A block before its bits are packed.
template <int kSubs>
struct AffineCodes {
  float scale = 0, minimum = 0;  // as they will be read: value = scale * s * code - minimum * m
  std::array<uint8_t, kSubs> scales{}, minima{};
  std::array<uint8_t, kElements> codes{};
};

struct SubBlock {
  int scale = 0, minimum = 0;
};

// Sum of squared differences with step `scale` and offset `-minimum`; the sum of codes in
// `code_sum`.
float affine_error(std::span<const float> values, float scale, float minimum, int code_max,
                   float* code_sum) {
  const float inverse = inverse_or_zero(scale);
  float error = 0, sum = 0;
  for (const float x : values) {
    const auto q = static_cast<float>(nearest_code((x + minimum) * inverse, 0, code_max));
    const float difference = x - (scale * q - minimum);
    error += difference * difference;
    sum += q;
  }
  *code_sum = sum;
  return error;
}

// The integer scale and minimum of one sub-block, given the block's units: the nearest to `fit` or
// a neighbour, whichever leaves less error once rounded.
SubBlock choose_affine(std::span<const float> values, const Affine& fit, float unit_scale,
                       float unit_minimum, int scale_max, int code_max) {
  const float inverse_minimum = inverse_or_zero(unit_minimum);
  const int centre = nearest_code(fit.scale * inverse_or_zero(unit_scale), 0, scale_max);
  const int offset = nearest_code(-fit.minimum * inverse_minimum, 0, scale_max);
  SubBlock best;
  float best_error = INFINITY;
  for (int scale = std::max(centre - 1, 0); scale <= std::min(centre + 1, scale_max); ++scale) {
    int minimum = offset;
    for (int round = 0; round < 3; ++round) {
      const float step = unit_scale * static_cast<float>(scale);
      float code_sum = 0;
      const float error = affine_error(values, step, unit_minimum * static_cast<float>(minimum),
                                       code_max, &code_sum);
      if (error < best_error) {
        best_error = error;
        best = {scale, minimum};
      }
      // With these codes the best minimum is the mean of step * q - x.
      float x_sum = 0;
      for (const float x : values) x_sum += x;
      const float mean = (step * code_sum - x_sum) / static_cast<float>(values.size());
      minimum = nearest_code(mean * inverse_minimum, 0, scale_max);
    }
  }
  return best;
}

template <int kSubs, class Block>
AffineCodes<kSubs> encode_affine(const float* values, int scale_max, int code_max, Block& block) {
  constexpr int kSize = kElements / kSubs;
  std::array<Affine, kSubs> fits;
  float largest_scale = 0, largest_minimum = 0;
  for (int s = 0; s < kSubs; ++s) {
    fits[s] = fit_affine({values + kSize * s, kSize}, code_max, true);
    largest_scale = std::max(largest_scale, fits[s].scale);
    largest_minimum = std::max(largest_minimum, -fits[s].minimum);
  }
  const auto units = static_cast<float>(scale_max);
  AffineCodes<kSubs> result;
  result.scale = store_f16(largest_scale / units, block.scale);
  result.minimum = store_f16(largest_minimum / units, block.minimum);
  for (int s = 0; s < kSubs; ++s) {
    const std::span<const float> sub{values + kSize * s, kSize};
    const SubBlock chosen =
        choose_affine(sub, fits[s], result.scale, result.minimum, scale_max, code_max);
    result.scales[s] = static_cast<uint8_t>(chosen.scale);
    result.minima[s] = static_cast<uint8_t>(chosen.minimum);
    const float inverse = inverse_or_zero(result.scale * static_cast<float>(chosen.scale));
    const float minimum = result.minimum * static_cast<float>(chosen.minimum);
    for (int i = 0; i < kSize; ++i) {
      result.codes[kSize * s + i] =
          static_cast<uint8_t>(nearest_code((sub[i] + minimum) * inverse, 0, code_max));
    }
  }
  return result;
}

// 16 sub-blocks of 16 with signed scales; codes are biased by `low` to be unsigned.
struct SymmetricCodes {
  std::array<int8_t, 16> scales{};
  std::array<uint8_t, kElements> codes{};
};

float symmetric_error(std::span<const float> values, float scale, int low, int high) {
  const float inverse = inverse_or_zero(scale);
  float error = 0;
  for (const float x : values) {
    const float difference = x - scale * static_cast<float>(nearest_code(x * inverse, low, high));
    error += difference * difference;
  }
  return error;
}

template <class Block>
SymmetricCodes encode_symmetric(const float* values, int low, int high, int scale_low,
                                Block& block) {
  constexpr int kSize = 16;
  std::array<float, 16> wanted{};
  float extreme = 0;
  for (int s = 0; s < 16; ++s) {
    wanted[s] = fit_scale({values + kSize * s, kSize}, low, high);
    if (std::fabs(wanted[s]) > std::fabs(extreme)) extreme = wanted[s];
  }
  SymmetricCodes result;
  const float unit = store_f16(extreme / static_cast<float>(scale_low), block.scale);
  const float inverse_unit = inverse_or_zero(unit);
  const int scale_high = -scale_low - 1;
  for (int s = 0; s < 16; ++s) {
    const std::span<const float> sub{values + kSize * s, kSize};
    const int centre = nearest_code(wanted[s] * inverse_unit, scale_low, scale_high);
    int best = centre;
    float best_error = INFINITY;
    for (int scale = std::max(centre - 1, scale_low); scale <= std::min(centre + 1, scale_high);
         ++scale) {
      const float error = symmetric_error(sub, unit * static_cast<float>(scale), low, high);
      if (error < best_error) {
        best_error = error;
        best = scale;
      }
    }
    result.scales[s] = static_cast<int8_t>(best);
    const float inverse = inverse_or_zero(unit * static_cast<float>(best));
    for (int i = 0; i < kSize; ++i) {
      result.codes[kSize * s + i] =
          static_cast<uint8_t>(nearest_code(sub[i] * inverse, low, high) - low);
    }
  }
  return result;
}

// The packing of k_scale_minimum.
std::array<uint8_t, 12> pack_scale_minimum(const std::array<uint8_t, 8>& scales,
                                           const std::array<uint8_t, 8>& minima) {
  std::array<uint8_t, 12> packed{};
  for (int s = 0; s < 4; ++s) {
    packed[s] = static_cast<uint8_t>(scales[s] | scales[s + 4] >> 4 << 6);
    packed[s + 4] = static_cast<uint8_t>(minima[s] | minima[s + 4] >> 4 << 6);
    packed[s + 8] = static_cast<uint8_t>((scales[s + 4] & 15) | (minima[s + 4] & 15) << 4);
  }
  return packed;
}

// Two bits of element e = 128 h + 32 j + l at 2 j of byte 32 h + l (Q2_K, Q3_K and Q6_K's upper
// bits).
int two_bits(const std::array<uint8_t, 64>& bytes, int e) {
  return bytes[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3;
}

void put_two_bits(std::array<uint8_t, 64>& bytes, int e, int bits) {
  uint8_t& byte = bytes[e / 128 * 32 + e % 32];
  byte = static_cast<uint8_t>(byte | bits << (e % 128 / 32 * 2));
}

// Four bits of element e = 64 c + 32 n + l at nibble n of byte 32 c + l (Q4_K, Q5_K).
int four_bits(const std::array<uint8_t, 128>& bytes, int e) {
  return bytes[e / 64 * 32 + e % 32] >> (e % 64 / 32 * 4) & 15;
}

void put_four_bits(std::array<uint8_t, 128>& bytes, int e, int bits) {
  uint8_t& byte = bytes[e / 64 * 32 + e % 32];
  byte = static_cast<uint8_t>(byte | bits << (e % 64 / 32 * 4));
}

// A bit of element e = 32 n + l at bit n of byte l (Q3_K, Q5_K).
void put_high_bit(std::array<uint8_t, 32>& bytes, int e, int bit) {
  uint8_t& byte = bytes[e % 32];
  byte = static_cast<uint8_t>(byte | bit << (e / 32));
}

// Q6_K: the low nibbles of elements 128 h + 32 j + l, at nibble j / 2 of byte 64 h + 32 (j % 2) +
// l.
int q6_low_byte(int e) { return e / 128 * 64 + e % 64; }
int q6_low_shift(int e) { return e % 128 / 64 * 4; }

}  // namespace

void decode(const BlockQ2_K& block, float* values) {
  const float scale = load_f16(block.scale);
  const float minimum = load_f16(block.minimum);
  for (int e = 0; e < kElements; ++e) {
    const uint8_t packed = block.scales[e / 16];
    const float step = scale * static_cast<float>(packed & 15);
    const float offset = minimum * static_cast<float>(packed >> 4);
    values[e] = step * static_cast<float>(two_bits(block.codes, e)) - offset;
  }
}

void decode(const BlockQ3_K& block, float* values) {
  const float scale = load_f16(block.scale);
  for (int e = 0; e < kElements; ++e) {
    const float step = scale * static_cast<float>(q3_k_scale(block.scales, e / 16));
    const int high = block.high[e % 32] >> (e / 32) & 1;
    values[e] = step * static_cast<float>(two_bits(block.codes, e) + 4 * high - 4);
  }
}

void decode(const BlockQ4_K& block, float* values) {
  const float scale = load_f16(block.scale);
  const float minimum = load_f16(block.minimum);
  for (int e = 0; e < kElements; ++e) {
    const ScaleMinimum sub = k_scale_minimum(block.scales, e / 32);
    const float step = scale * static_cast<float>(sub.scale);
    const float offset = minimum * static_cast<float>(sub.minimum);
    values[e] = step * static_cast<float>(four_bits(block.codes, e)) - offset;
  }
}

void decode(const BlockQ5_K& block, float* values) {
  const float scale = load_f16(block.scale);
  const float minimum = load_f16(block.minimum);
  for (int e = 0; e < kElements; ++e) {
    const ScaleMinimum sub = k_scale_minimum(block.scales, e / 32);
    const float step = scale * static_cast<float>(sub.scale);
    const float offset = minimum * static_cast<float>(sub.minimum);
    const int high = block.high[e % 32] >> (e / 32) & 1;
    values[e] = step * static_cast<float>(four_bits(block.codes, e) + 16 * high) - offset;
  }
}

void decode(const BlockQ6_K& block, float* values) {
  const float scale = load_f16(block.scale);
  for (int e = 0; e < kElements; ++e) {
    const int low = block.low[q6_low_byte(e)] >> q6_low_shift(e) & 15;
    const int code = low | two_bits(block.high, e) << 4;
    values[e] = scale * static_cast<float>(block.scales[e / 16]) * static_cast<float>(code - 32);
  }
}

void encode(const float* values, BlockQ2_K& block) {
  block = {};
  const auto fitted = encode_affine<16>(values, 15, 3, block);
  for (int s = 0; s < 16; ++s) {
    block.scales[s] = static_cast<uint8_t>(fitted.scales[s] | fitted.minima[s] << 4);
  }
  for (int e = 0; e < kElements; ++e) put_two_bits(block.codes, e, fitted.codes[e]);
}

void encode(const float* values, BlockQ3_K& block) {
  block = {};
  const SymmetricCodes fitted = encode_symmetric(values, -4, 3, -32, block);
  for (int s = 0; s < 16; ++s) {
    const int biased = fitted.scales[s] + 32;
    block.scales[s % 8] = static_cast<uint8_t>(block.scales[s % 8] | (biased & 15) << (s / 8 * 4));
    uint8_t& high = block.scales[8 + s % 4];
    high = static_cast<uint8_t>(high | biased >> 4 << (s / 4 * 2));
  }
  for (int e = 0; e < kElements; ++e) {
    put_two_bits(block.codes, e, fitted.codes[e] & 3);
    put_high_bit(block.high, e, fitted.codes[e] >> 2);
  }
}

void encode(const float* values, BlockQ4_K& block) {
  block = {};
  const auto fitted = encode_affine<8>(values, 63, 15, block);
  block.scales = pack_scale_minimum(fitted.scales, fitted.minima);
  for (int e = 0; e < kElements; ++e) put_four_bits(block.codes, e, fitted.codes[e]);
}

void encode(const float* values, BlockQ5_K& block) {
  block = {};
  const auto fitted = encode_affine<8>(values, 63, 31, block);
  block.scales = pack_scale_minimum(fitted.scales, fitted.minima);
  for (int e = 0; e < kElements; ++e) {
    put_four_bits(block.codes, e, fitted.codes[e] & 15);
    put_high_bit(block.high, e, fitted.codes[e] >> 4);
  }
}

void encode(const float* values, BlockQ6_K& block) {
  block = {};
  const SymmetricCodes fitted = encode_symmetric(values, -32, 31, -128, block);
  block.scales = fitted.scales;
  for (int e = 0; e < kElements; ++e) {
    uint8_t& low = block.low[q6_low_byte(e)];
    low = static_cast<uint8_t>(low | (fitted.codes[e] & 15) << q6_low_shift(e));
    put_two_bits(block.high, e, fitted.codes[e] >> 4);
  }
}

}  // namespace hadal::quant
