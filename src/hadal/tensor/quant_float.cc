// Conversions between single precision and the narrower float formats, on bits: the same on every
// machine, whatever its rounding mode or its treatment of subnormals.
#include <bit>
#include <cmath>
#include <limits>

#include "hadal/tensor/quant.h"

namespace hadal {
namespace {

// Rounds `mantissa` (24 bits with the hidden one) right by `shift` >= 1, half to even. A carry out
// of the mantissa lands in the exponent of the caller's sum, which is the correct result.
uint32_t shift_to_even(uint32_t mantissa, int shift) {
  if (shift > 25) return 0;
  const uint32_t half = 1u << (shift - 1);
  const uint32_t kept = mantissa >> shift;
  const uint32_t rest = mantissa & ((1u << shift) - 1);
  return kept + (rest > half || (rest == half && (kept & 1)) ? 1 : 0);
}

// Encodes |value| (finite) with `mantissa_bits` and an exponent bias; overflow is the caller's to
// see from the result being beyond its largest code.
uint32_t encode_magnitude(uint32_t bits, int mantissa_bits, int bias) {
  const int exponent = static_cast<int>(bits >> 23) - 127 + bias;  // biased for the target
  if (bits < 0x00800000u)
    return 0;  // subnormal singles are below every target's smallest half-step
  const uint32_t mantissa = (bits & 0x007FFFFFu) | 0x00800000u;
  const int drop = 23 - mantissa_bits;
  if (exponent >= 1) {
    // The hidden bit adds one to the exponent field, hence exponent - 1.
    return (static_cast<uint32_t>(exponent - 1) << mantissa_bits) + shift_to_even(mantissa, drop);
  }
  return shift_to_even(mantissa, drop + 1 - exponent);
}

}  // namespace

float f16_to_f32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 31;
  const uint32_t mantissa = bits & 0x3FFu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | mantissa << 13);
  if (exponent > 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // exact
  return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
}

uint16_t f32_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) {  // NaN: quiet, payload's upper bits kept
    return static_cast<uint16_t>(sign | 0x7E00u | (magnitude >> 13 & 0x3FFu));
  }
  if (magnitude >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7C00u);  // 2^16 and beyond
  return static_cast<uint16_t>(sign | encode_magnitude(magnitude, 10, 15));
}

float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t f32_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

float f8e4m3_to_f32(uint8_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x80u) << 24;
  const uint32_t exponent = (bits >> 3) & 15;
  const uint32_t mantissa = bits & 7u;
  if (exponent == 15 && mantissa == 7) return std::bit_cast<float>(sign | 0x7FC00000u);
  if (exponent > 0) return std::bit_cast<float>(sign | (exponent + 120) << 23 | mantissa << 20);
  const float magnitude = static_cast<float>(mantissa) * 0x1p-9f;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
}

uint8_t f32_to_f8e4m3(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 24) & 0x80u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint8_t>(sign | 0x7Fu);
  constexpr uint32_t kLargest = 0x7E;  // 448
  if (magnitude >= 0x43E00000u) return static_cast<uint8_t>(sign | kLargest);
  return static_cast<uint8_t>(sign | encode_magnitude(magnitude, 3, 7));
}

float ue8m0_to_f32(uint8_t bits) {
  if (bits == 255) return std::numeric_limits<float>::quiet_NaN();
  return std::ldexp(1.0f, static_cast<int>(bits) - 127);
}

uint8_t f32_to_ue8m0(float value) {
  if (std::isnan(value)) return 255;
  if (value <= 0x1p-127f) return 0;
  if (value >= 0x1p127f) return 254;
  int exponent = 0;
  const float fraction = std::frexp(value, &exponent);  // in [0.5, 1)
  return static_cast<uint8_t>(exponent - 1 + (fraction >= 0.75f ? 1 : 0) + 127);
}

}  // namespace hadal
