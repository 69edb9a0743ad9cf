// Scalar decode and encode of every element type: the definition of each format. Slow and exact;
// the fast forms in kernels are compared with these.
//
// Threads: pure functions. Lengths are in elements and must be multiples of the type's block.
#pragma once

#include <cstddef>
#include <span>

#include "hadal/base/result.h"
#include "hadal/tensor/dtype.h"

namespace hadal {

float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float value);  // round to nearest even
float bf16_to_f32(uint16_t bits);
uint16_t f32_to_bf16(float value);   // round to nearest even; NaN stays NaN
float f8e4m3_to_f32(uint8_t bits);   // S.1111.111 is NaN, no infinities, maximum 448
uint8_t f32_to_f8e4m3(float value);  // round to nearest even; beyond 448 becomes 448, NaN stays NaN
float ue8m0_to_f32(uint8_t bits);    // 2^(bits - 127); 255 is NaN
uint8_t f32_to_ue8m0(
    float value);  // the nearest power of two; zero and less become 2^-127, NaN stays NaN

// target[0, count) = the values of `source`, which holds row_bytes(dtype, count) bytes.
// Every float and quantised type; kF8E4M3 without its block scale.
void dequantize(DType dtype, const std::byte* source, float* target, size_t count);

// The inverse, by round-to-nearest of each block (no importance weights) with scales searched for
// the least squared error. Every float type and every quantised type of DType. Quantised types hold
// no NaN and no infinity: such a value is encoded as 0, so a caller that must not lose one looks
// first.
void quantize(DType dtype, const float* source, std::byte* target, size_t count);

}  // namespace hadal
