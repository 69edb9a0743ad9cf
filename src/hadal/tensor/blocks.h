// Block layouts of the quantised types, byte for byte as in a GGUF. Facts of the format: ggml's
// ggml-common.h. Every member is bytes, so a block may lie at any address of a mapped file.
//
// "Low half, high half": byte i of a 16-byte `codes` holds element i in its low nibble and element
// i + 16 in its high nibble.
#pragma once

#include <array>
#include <cstdint>

namespace hadal {

using F16Bytes = std::array<uint8_t, 2>;  // little-endian half

// 32 elements. value = scale * (code - 8).
struct BlockQ4_0 {
  static constexpr int kElements = 32;
  F16Bytes scale;
  std::array<uint8_t, 16> codes;  // low half, high half
};

// value = scale * code + minimum.
struct BlockQ4_1 {
  static constexpr int kElements = 32;
  F16Bytes scale, minimum;
  std::array<uint8_t, 16> codes;
};

// value = scale * (code - 16); bit 4 of element i's code is bit i of `high`, read as a
// little-endian word.
struct BlockQ5_0 {
  static constexpr int kElements = 32;
  F16Bytes scale;
  std::array<uint8_t, 4> high;
  std::array<uint8_t, 16> codes;
};

// value = scale * code + minimum.
struct BlockQ5_1 {
  static constexpr int kElements = 32;
  F16Bytes scale, minimum;
  std::array<uint8_t, 4> high;
  std::array<uint8_t, 16> codes;
};

// value = scale * code.
struct BlockQ8_0 {
  static constexpr int kElements = 32;
  F16Bytes scale;
  std::array<int8_t, 32> codes;
};

// 256 elements in 16 sub-blocks of 16. value = scale * (scales[s] & 15) * code - minimum *
// (scales[s] >> 4). Element 128 h + 32 j + l has the code (codes[32 h + l] >> 2 j) & 3.
struct BlockQ2_K {
  static constexpr int kElements = 256;
  std::array<uint8_t, 16> scales;
  std::array<uint8_t, 64> codes;
  F16Bytes scale, minimum;
};

// 16 sub-blocks of 16. value = scale * (sub_scale - 32) * (code - 4). Low two bits of a code as in
// Q2_K, bit 2 of element 128 h + 32 j + l is bit 4 h + j of high[l]. The 6-bit scales: see
// q3_k_scale.
struct BlockQ3_K {
  static constexpr int kElements = 256;
  std::array<uint8_t, 32> high;
  std::array<uint8_t, 64> codes;
  std::array<uint8_t, 12> scales;
  F16Bytes scale;
};

// 8 sub-blocks of 32. value = scale * sub_scale * code - minimum * sub_minimum.
// Element 64 c + l is the low nibble of codes[32 c + l], element 64 c + 32 + l the high one.
struct BlockQ4_K {
  static constexpr int kElements = 256;
  F16Bytes scale, minimum;
  std::array<uint8_t, 12> scales;  // 6-bit scales and minima, see k_scale_minimum
  std::array<uint8_t, 128> codes;
};

// As Q4_K; bit 4 of element 32 s + l is bit s of high[l].
struct BlockQ5_K {
  static constexpr int kElements = 256;
  F16Bytes scale, minimum;
  std::array<uint8_t, 12> scales;
  std::array<uint8_t, 32> high;
  std::array<uint8_t, 128> codes;
};

// 16 sub-blocks of 16. value = scale * scales[s] * (code - 32). Element 128 h + 32 j + l: low
// nibble in low[64 h + 32 (j % 2) + l] (low nibble for j < 2, high for j >= 2), two bits at 2 j of
// high[32 h + l].
struct BlockQ6_K {
  static constexpr int kElements = 256;
  std::array<uint8_t, 128> low;
  std::array<uint8_t, 64> high;
  std::array<int8_t, 16> scales;
  F16Bytes scale;
};

// value = scale * kIq4Values[code].
struct BlockIQ4_NL {
  static constexpr int kElements = 32;
  F16Bytes scale;
  std::array<uint8_t, 16> codes;  // low half, high half
};

// 8 sub-blocks of 32. value = scale * (sub_scale - 32) * kIq4Values[code]; sub-block s has its
// scale's low nibble in scales_low[s / 2] (even s: low nibble) and its two high bits at 2 s of
// scales_high.
struct BlockIQ4_XS {
  static constexpr int kElements = 256;
  F16Bytes scale;
  std::array<uint8_t, 2> scales_high;  // little-endian word
  std::array<uint8_t, 4> scales_low;
  std::array<uint8_t, 128> codes;  // 16 bytes a sub-block: low half, high half
};

// OCP microscaling: value = 2^(exponent - 128) * kMxfp4Values[code]. The table is twice FP4's
// values and the scale half of 2^(exponent - 127), so that the table is whole numbers.
struct BlockMXFP4 {
  static constexpr int kElements = 32;
  uint8_t exponent;
  std::array<uint8_t, 16> codes;  // low half, high half
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22);
static_assert(sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockQ2_K) == 84);
static_assert(sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144 && sizeof(BlockQ5_K) == 176);
static_assert(sizeof(BlockQ6_K) == 210 && sizeof(BlockIQ4_NL) == 18 && sizeof(BlockIQ4_XS) == 136);
static_assert(sizeof(BlockMXFP4) == 17 && alignof(BlockQ6_K) == 1 && alignof(BlockIQ4_XS) == 1);

// IQ4's sixteen levels, denser near zero.
inline constexpr std::array<int8_t, 16> kIq4Values = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                      1,    13,   25,  38,  53,  69,  89,  113};
// FP4 E2M1 times two; bit 3 is the sign.
inline constexpr std::array<int8_t, 16> kMxfp4Values = {0, 1,  2,  3,  4,  6,  8,  12,
                                                        0, -1, -2, -3, -4, -6, -8, -12};

struct ScaleMinimum {
  uint8_t scale, minimum;  // each 0..63
};

// Sub-block s (0..7) of Q4_K and Q5_K. Sub-blocks 0..3 keep six bits in bytes s and s + 4;
// sub-blocks 4..7 keep four bits of each in byte s + 4 and the upper two in the spare bits of bytes
// s - 4 and s.
inline ScaleMinimum k_scale_minimum(const std::array<uint8_t, 12>& packed, int s) {
  if (s < 4) {
    return {static_cast<uint8_t>(packed[s] & 63), static_cast<uint8_t>(packed[s + 4] & 63)};
  }
  return {static_cast<uint8_t>((packed[s + 4] & 15) | (packed[s - 4] >> 6 << 4)),
          static_cast<uint8_t>((packed[s + 4] >> 4) | (packed[s] >> 6 << 4))};
}

// Sub-block s (0..15) of Q3_K, in -32..31: the low nibble in byte s % 8, the upper two bits in byte
// 8 + s % 4.
inline int q3_k_scale(const std::array<uint8_t, 12>& packed, int s) {
  const int low = (packed[s % 8] >> (s / 8 * 4)) & 15;
  const int high = (packed[8 + s % 4] >> (s / 4 * 2)) & 3;
  return (low | high << 4) - 32;
}

}  // namespace hadal
