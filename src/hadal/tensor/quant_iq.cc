// Types with a table of levels: IQ4_NL, IQ4_XS, MXFP4.
#include <algorithm>
#include <cmath>

#include "hadal/tensor/quant.h"
#include "hadal/tensor/quant_block.h"

namespace hadal::quant {
namespace {

constexpr int kHalf = 16;

// The index of the level nearest to `scaled`. The levels ascend, so the index is the number of
// midpoints below the value.
int nearest_iq4(float scaled) {
  int code = 0;
  for (int i = 0; i < 15; ++i) {
    const float middle = 0.5f * static_cast<float>(kIq4Values[i] + kIq4Values[i + 1]);
    code += scaled > middle ? 1 : 0;
  }
  return code;
}

int nearest_mxfp4(float scaled) {
  const float magnitude = std::fabs(scaled);
  int code = 0;
  for (int i = 0; i < 7; ++i) {
    const float middle = 0.5f * static_cast<float>(kMxfp4Values[i] + kMxfp4Values[i + 1]);
    code += magnitude > middle ? 1 : 0;
  }
  return scaled < 0 && code > 0 ? code + 8 : code;
}

// As fit_scale, for the table of IQ4. The table reaches further down than up, so both signs are
// tried.
float fit_iq4(std::span<const float> values) {
  float extreme = 0;
  for (const float x : values) {
    if (std::fabs(x) > std::fabs(extreme)) extreme = x;
  }
  if (std::fabs(extreme) < 1e-30f) return 0;
  float best_gain = -1;
  float best_scale = 0;
  const auto consider = [&](float inverse) {
    float xq = 0, qq = 0;
    for (const float x : values) {
      const auto q = static_cast<float>(kIq4Values[nearest_iq4(x * inverse)]);
      xq += x * q;
      qq += q * q;
    }
    if (qq > 0 && xq * xq / qq > best_gain) {
      best_gain = xq * xq / qq;
      best_scale = xq / qq;
    }
  };
  for (int step = -5; step <= 5; ++step) {
    const auto level = static_cast<float>(kIq4Values[0] + 3 * step);
    consider(level / extreme);
    consider(-level * 0.9f / extreme);
  }
  consider(inverse_or_zero(best_scale));
  return best_scale;
}

void put_codes(const float* values, float inverse, uint8_t* codes) {
  for (int i = 0; i < kHalf; ++i) {
    const int low = nearest_iq4(values[i] * inverse);
    const int high = nearest_iq4(values[i + kHalf] * inverse);
    codes[i] = static_cast<uint8_t>(low | high << 4);
  }
}

int xs_scale(const BlockIQ4_XS& block, int s) {
  const int low = block.scales_low[s / 2] >> (s % 2 * 4) & 15;
  const int high = block.scales_high[s / 4] >> (s % 4 * 2) & 3;
  return (low | high << 4) - 32;
}

void put_xs_scale(BlockIQ4_XS& block, int s, int scale) {
  const int biased = scale + 32;
  block.scales_low[s / 2] =
      static_cast<uint8_t>(block.scales_low[s / 2] | (biased & 15) << (s % 2 * 4));
  block.scales_high[s / 4] =
      static_cast<uint8_t>(block.scales_high[s / 4] | biased >> 4 << (s % 4 * 2));
}

// 2^(exponent - 128): half of the OCP scale, as kMxfp4Values is doubled. 255, which OCP calls NaN,
// is 2^127 to every reader of GGUF.
float mxfp4_scale(uint8_t exponent) { return std::ldexp(1.0f, static_cast<int>(exponent) - 128); }

}  // namespace

void decode(const BlockIQ4_NL& block, float* values) {
  const float scale = load_f16(block.scale);
  for (int i = 0; i < kHalf; ++i) {
    values[i] = scale * static_cast<float>(kIq4Values[block.codes[i] & 15]);
    values[i + kHalf] = scale * static_cast<float>(kIq4Values[block.codes[i] >> 4]);
  }
}

void decode(const BlockIQ4_XS& block, float* values) {
  const float scale = load_f16(block.scale);
  for (int s = 0; s < 8; ++s) {
    const float sub = scale * static_cast<float>(xs_scale(block, s));
    for (int i = 0; i < kHalf; ++i) {
      const uint8_t byte = block.codes[16 * s + i];
      values[32 * s + i] = sub * static_cast<float>(kIq4Values[byte & 15]);
      values[32 * s + kHalf + i] = sub * static_cast<float>(kIq4Values[byte >> 4]);
    }
  }
}

void decode(const BlockMXFP4& block, float* values) {
  const float scale = mxfp4_scale(block.exponent);
  for (int i = 0; i < kHalf; ++i) {
    values[i] = scale * static_cast<float>(kMxfp4Values[block.codes[i] & 15]);
    values[i + kHalf] = scale * static_cast<float>(kMxfp4Values[block.codes[i] >> 4]);
  }
}

void encode(const float* values, BlockIQ4_NL& block) {
  const float scale = store_f16(fit_iq4({values, 32}), block.scale);
  put_codes(values, inverse_or_zero(scale), block.codes.data());
}

void encode(const float* values, BlockIQ4_XS& block) {
  std::array<float, 8> wanted{};
  float extreme = 0;
  for (int s = 0; s < 8; ++s) {
    wanted[s] = fit_iq4({values + 32 * s, 32});
    if (std::fabs(wanted[s]) > std::fabs(extreme)) extreme = wanted[s];
  }
  block = {};
  const float scale = store_f16(extreme / -32.0f, block.scale);
  const float inverse = inverse_or_zero(scale);
  for (int s = 0; s < 8; ++s) {
    const int sub = nearest_code(wanted[s] * inverse, -32, 31);
    put_xs_scale(block, s, sub);
    put_codes(values + 32 * s, inverse_or_zero(scale * static_cast<float>(sub)),
              &block.codes[16 * s]);
  }
}

void encode(const float* values, BlockMXFP4& block) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(values[i]));
  int power = 0;  // of two, at most `largest`
  std::frexp(largest, &power);
  const int base = largest > 0 ? power - 1 - 2 + 127 : 0;  // FP4's largest power of two is 2^2
  float best_error = INFINITY;
  for (int candidate = base; candidate <= base + 1; ++candidate) {
    BlockMXFP4 trial{};
    trial.exponent = static_cast<uint8_t>(std::clamp(candidate, 0, 254));
    const float scale = mxfp4_scale(trial.exponent);
    float error = 0;
    for (int i = 0; i < 32; ++i) {
      const int code = nearest_mxfp4(values[i] / scale);
      const float difference = values[i] - scale * static_cast<float>(kMxfp4Values[code]);
      error += difference * difference;
      trial.codes[i % kHalf] =
          static_cast<uint8_t>(trial.codes[i % kHalf] | code << (i / kHalf * 4));
    }
    if (error < best_error) {
      best_error = error;
      block = trial;
    }
  }
}

}  // namespace hadal::quant
