#include "hadal/tensor/quant.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "hadal/base/check.h"
#include "hadal/tensor/quant_block.h"

namespace hadal {
namespace quant {

float load_f16(F16Bytes bytes) {
  return f16_to_f32(static_cast<uint16_t>(bytes[0] | bytes[1] << 8));
}

float store_f16(float value, F16Bytes& bytes) {
  constexpr float kLargest = 65504.0f;
  const uint16_t bits = f32_to_f16(std::clamp(value, -kLargest, kLargest));
  bytes = {static_cast<uint8_t>(bits), static_cast<uint8_t>(bits >> 8)};
  return f16_to_f32(bits);
}

}  // namespace quant

namespace {

template <class Block>
void decode_blocks(const std::byte* source, float* target, size_t count) {
  for (size_t i = 0; i < count; i += Block::kElements, source += sizeof(Block)) {
    Block block;
    std::memcpy(&block, source, sizeof(Block));
    quant::decode(block, target + i);
  }
}

// Sums of squares over a block stay finite below this; what a half-precision scale can reach is far
// less.
constexpr float kEncodableMax = 1e17f;

template <class Block>
void encode_blocks(const float* source, std::byte* target, size_t count) {
  std::array<float, Block::kElements> values;
  for (size_t i = 0; i < count; i += Block::kElements, target += sizeof(Block)) {
    for (int k = 0; k < Block::kElements; ++k) {
      const float value = source[i + k];
      values[k] = std::isfinite(value) ? std::clamp(value, -kEncodableMax, kEncodableMax) : 0.0f;
    }
    Block block{};
    quant::encode(values.data(), block);
    std::memcpy(target, &block, sizeof(Block));
  }
}

// Elements of 1 or 2 bytes, one by one.
template <class Bits, float (*kConvert)(Bits)>
void decode_each(const std::byte* source, float* target, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, source + i * sizeof(Bits), sizeof(Bits));
    target[i] = kConvert(bits);
  }
}

template <class Bits, Bits (*kConvert)(float)>
void encode_each(const float* source, std::byte* target, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const Bits bits = kConvert(source[i]);
    std::memcpy(target + i * sizeof(Bits), &bits, sizeof(Bits));
  }
}

void check_count(DType dtype, size_t count) {
  HADAL_CHECK(count % dtype_info(dtype).block_elements == 0,
              std::string(dtype_name(dtype)) + " of " + std::to_string(count) + " elements");
}

}  // namespace

void dequantize(DType dtype, const std::byte* source, float* target, size_t count) {
  check_count(dtype, count);
  switch (dtype) {
    case DType::kF32:
      std::memcpy(target, source, count * sizeof(float));
      return;
    case DType::kF16:
      return decode_each<uint16_t, f16_to_f32>(source, target, count);
    case DType::kBF16:
      return decode_each<uint16_t, bf16_to_f32>(source, target, count);
    case DType::kF8E4M3:
      return decode_each<uint8_t, f8e4m3_to_f32>(source, target, count);
    case DType::kF8E8M0:
      return decode_each<uint8_t, ue8m0_to_f32>(source, target, count);
    case DType::kQ4_0:
      return decode_blocks<BlockQ4_0>(source, target, count);
    case DType::kQ4_1:
      return decode_blocks<BlockQ4_1>(source, target, count);
    case DType::kQ5_0:
      return decode_blocks<BlockQ5_0>(source, target, count);
    case DType::kQ5_1:
      return decode_blocks<BlockQ5_1>(source, target, count);
    case DType::kQ8_0:
      return decode_blocks<BlockQ8_0>(source, target, count);
    case DType::kQ2_K:
      return decode_blocks<BlockQ2_K>(source, target, count);
    case DType::kQ3_K:
      return decode_blocks<BlockQ3_K>(source, target, count);
    case DType::kQ4_K:
      return decode_blocks<BlockQ4_K>(source, target, count);
    case DType::kQ5_K:
      return decode_blocks<BlockQ5_K>(source, target, count);
    case DType::kQ6_K:
      return decode_blocks<BlockQ6_K>(source, target, count);
    case DType::kIQ4_NL:
      return decode_blocks<BlockIQ4_NL>(source, target, count);
    case DType::kIQ4_XS:
      return decode_blocks<BlockIQ4_XS>(source, target, count);
    case DType::kMXFP4:
      return decode_blocks<BlockMXFP4>(source, target, count);
    case DType::kI32:
    case DType::kI64:
    case DType::kI8:
      break;
  }
  HADAL_CHECK(false, "no float form of " + std::string(dtype_name(dtype)));
}

void quantize(DType dtype, const float* source, std::byte* target, size_t count) {
  check_count(dtype, count);
  switch (dtype) {
    case DType::kF32:
      std::memcpy(target, source, count * sizeof(float));
      return;
    case DType::kF16:
      return encode_each<uint16_t, f32_to_f16>(source, target, count);
    case DType::kBF16:
      return encode_each<uint16_t, f32_to_bf16>(source, target, count);
    case DType::kF8E4M3:
      return encode_each<uint8_t, f32_to_f8e4m3>(source, target, count);
    case DType::kF8E8M0:
      return encode_each<uint8_t, f32_to_ue8m0>(source, target, count);
    case DType::kQ4_0:
      return encode_blocks<BlockQ4_0>(source, target, count);
    case DType::kQ4_1:
      return encode_blocks<BlockQ4_1>(source, target, count);
    case DType::kQ5_0:
      return encode_blocks<BlockQ5_0>(source, target, count);
    case DType::kQ5_1:
      return encode_blocks<BlockQ5_1>(source, target, count);
    case DType::kQ8_0:
      return encode_blocks<BlockQ8_0>(source, target, count);
    case DType::kQ2_K:
      return encode_blocks<BlockQ2_K>(source, target, count);
    case DType::kQ3_K:
      return encode_blocks<BlockQ3_K>(source, target, count);
    case DType::kQ4_K:
      return encode_blocks<BlockQ4_K>(source, target, count);
    case DType::kQ5_K:
      return encode_blocks<BlockQ5_K>(source, target, count);
    case DType::kQ6_K:
      return encode_blocks<BlockQ6_K>(source, target, count);
    case DType::kIQ4_NL:
      return encode_blocks<BlockIQ4_NL>(source, target, count);
    case DType::kIQ4_XS:
      return encode_blocks<BlockIQ4_XS>(source, target, count);
    case DType::kMXFP4:
      return encode_blocks<BlockMXFP4>(source, target, count);
    case DType::kI32:
    case DType::kI64:
    case DType::kI8:
      break;
  }
  HADAL_CHECK(false, "no encoding from float to " + std::string(dtype_name(dtype)));
}

}  // namespace hadal
