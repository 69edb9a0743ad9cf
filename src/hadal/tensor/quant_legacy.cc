// The 32-element types: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
#include <algorithm>
#include <cmath>

#include "hadal/tensor/quant_block.h"

namespace hadal::quant {
namespace {

constexpr int kHalf = 16;

uint32_t load_high_bits(const std::array<uint8_t, 4>& bytes) {
  return bytes[0] | static_cast<uint32_t>(bytes[1]) << 8 | static_cast<uint32_t>(bytes[2]) << 16 |
         static_cast<uint32_t>(bytes[3]) << 24;
}

// Element i of a "low half, high half" block.
int nibble(const std::array<uint8_t, 16>& codes, int i) {
  return i < kHalf ? codes[i] & 15 : codes[i - kHalf] >> 4;
}

void put_nibble(std::array<uint8_t, 16>& codes, int i, int code) {
  if (i < kHalf) {
    codes[i] = static_cast<uint8_t>(code);
  } else {
    codes[i - kHalf] = static_cast<uint8_t>(codes[i - kHalf] | code << 4);
  }
}

// Both five-bit types: `code_of(i)` is 0..31.
template <class Block, class CodeOf>
void pack_five_bits(Block& block, const CodeOf& code_of) {
  uint32_t high = 0;
  for (int i = 0; i < Block::kElements; ++i) {
    const int code = code_of(i);
    put_nibble(block.codes, i, code & 15);
    high |= static_cast<uint32_t>(code >> 4) << i;
  }
  for (int b = 0; b < 4; ++b) block.high[b] = static_cast<uint8_t>(high >> (8 * b));
}

}  // namespace

void decode(const BlockQ4_0& block, float* values) {
  const float scale = load_f16(block.scale);
  for (int i = 0; i < 32; ++i) values[i] = scale * static_cast<float>(nibble(block.codes, i) - 8);
}

void decode(const BlockQ4_1& block, float* values) {
  const float scale = load_f16(block.scale);
  const float minimum = load_f16(block.minimum);
  for (int i = 0; i < 32; ++i) {
    values[i] = scale * static_cast<float>(nibble(block.codes, i)) + minimum;
  }
}

void decode(const BlockQ5_0& block, float* values) {
  const float scale = load_f16(block.scale);
  const uint32_t high = load_high_bits(block.high);
  for (int i = 0; i < 32; ++i) {
    const int code = nibble(block.codes, i) | static_cast<int>(high >> i & 1) << 4;
    values[i] = scale * static_cast<float>(code - 16);
  }
}

void decode(const BlockQ5_1& block, float* values) {
  const float scale = load_f16(block.scale);
  const float minimum = load_f16(block.minimum);
  const uint32_t high = load_high_bits(block.high);
  for (int i = 0; i < 32; ++i) {
    const int code = nibble(block.codes, i) | static_cast<int>(high >> i & 1) << 4;
    values[i] = scale * static_cast<float>(code) + minimum;
  }
}

void decode(const BlockQ8_0& block, float* values) {
  const float scale = load_f16(block.scale);
  for (int i = 0; i < 32; ++i) values[i] = scale * static_cast<float>(block.codes[i]);
}

void encode(const float* values, BlockQ4_0& block) {
  const float scale = store_f16(fit_scale({values, 32}, -8, 7), block.scale);
  const float inverse = inverse_or_zero(scale);
  for (int i = 0; i < 32; ++i) {
    put_nibble(block.codes, i, nearest_code(values[i] * inverse, -8, 7) + 8);
  }
}

void encode(const float* values, BlockQ4_1& block) {
  const Affine fit = fit_affine({values, 32}, 15, false);
  const float inverse = inverse_or_zero(store_f16(fit.scale, block.scale));
  const float minimum = store_f16(fit.minimum, block.minimum);
  for (int i = 0; i < 32; ++i) {
    put_nibble(block.codes, i, nearest_code((values[i] - minimum) * inverse, 0, 15));
  }
}

void encode(const float* values, BlockQ5_0& block) {
  const float inverse = inverse_or_zero(store_f16(fit_scale({values, 32}, -16, 15), block.scale));
  pack_five_bits(block, [&](int i) { return nearest_code(values[i] * inverse, -16, 15) + 16; });
}

void encode(const float* values, BlockQ5_1& block) {
  const Affine fit = fit_affine({values, 32}, 31, false);
  const float inverse = inverse_or_zero(store_f16(fit.scale, block.scale));
  const float minimum = store_f16(fit.minimum, block.minimum);
  pack_five_bits(block,
                 [&](int i) { return nearest_code((values[i] - minimum) * inverse, 0, 31); });
}

// 255 levels need no search: the scale follows from the largest value.
void encode(const float* values, BlockQ8_0& block) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(values[i]));
  const float inverse = inverse_or_zero(store_f16(largest / 127.0f, block.scale));
  for (int i = 0; i < 32; ++i) {
    block.codes[i] = static_cast<int8_t>(nearest_code(values[i] * inverse, -127, 127));
  }
}

}  // namespace hadal::quant
