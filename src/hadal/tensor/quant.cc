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

// Sums of squares over a block stay finite below this; what a half-precision scale can reach is far
// less.
constexpr float kEncodableMax = 1e17f;

// From stored bytes to floats. What with_form() calls, as Encode below.
struct Decode {
  const std::byte* source;
  float* target;
  size_t count;

  void floats() const { std::memcpy(target, source, count * sizeof(float)); }
  // Elements of 1 or 2 bytes, one by one.
  template <class Bits, float (*kDecode)(Bits), Bits (*)(float)>
  void each() const {
    for (size_t i = 0; i < count; ++i) {
      Bits bits;
      std::memcpy(&bits, source + i * sizeof(Bits), sizeof(Bits));
      target[i] = kDecode(bits);
    }
  }
  template <class Block>
  void blocks() const {
    const std::byte* from = source;
    for (size_t i = 0; i < count; i += Block::kElements, from += sizeof(Block)) {
      Block block;
      std::memcpy(&block, from, sizeof(Block));
      quant::decode(block, target + i);
    }
  }
};

struct Encode {
  const float* source;
  std::byte* target;
  size_t count;

  void floats() const { std::memcpy(target, source, count * sizeof(float)); }
  template <class Bits, float (*)(Bits), Bits (*kEncode)(float)>
  void each() const {
    for (size_t i = 0; i < count; ++i) {
      const Bits bits = kEncode(source[i]);
      std::memcpy(target + i * sizeof(Bits), &bits, sizeof(Bits));
    }
  }
  template <class Block>
  void blocks() const {
    std::array<float, Block::kElements> values;
    std::byte* to = target;
    for (size_t i = 0; i < count; i += Block::kElements, to += sizeof(Block)) {
      for (int k = 0; k < Block::kElements; ++k) {
        const float value = source[i + k];
        values[k] = std::isfinite(value) ? std::clamp(value, -kEncodableMax, kEncodableMax) : 0.0f;
      }
      Block block{};
      quant::encode(values.data(), block);
      std::memcpy(to, &block, sizeof(Block));
    }
  }
};

// Calls what the type is made of. False: it has no float form.
template <class Code>
bool with_form(DType dtype, const Code& code) {
  switch (dtype) {
    case DType::kF32:
      return code.floats(), true;
    case DType::kF16:
      return code.template each<uint16_t, f16_to_f32, f32_to_f16>(), true;
    case DType::kBF16:
      return code.template each<uint16_t, bf16_to_f32, f32_to_bf16>(), true;
    case DType::kF8E4M3:
      return code.template each<uint8_t, f8e4m3_to_f32, f32_to_f8e4m3>(), true;
    case DType::kF8E8M0:
      return code.template each<uint8_t, ue8m0_to_f32, f32_to_ue8m0>(), true;
    case DType::kQ4_0:
      return code.template blocks<BlockQ4_0>(), true;
    case DType::kQ4_1:
      return code.template blocks<BlockQ4_1>(), true;
    case DType::kQ5_0:
      return code.template blocks<BlockQ5_0>(), true;
    case DType::kQ5_1:
      return code.template blocks<BlockQ5_1>(), true;
    case DType::kQ8_0:
      return code.template blocks<BlockQ8_0>(), true;
    case DType::kQ2_K:
      return code.template blocks<BlockQ2_K>(), true;
    case DType::kQ3_K:
      return code.template blocks<BlockQ3_K>(), true;
    case DType::kQ4_K:
      return code.template blocks<BlockQ4_K>(), true;
    case DType::kQ5_K:
      return code.template blocks<BlockQ5_K>(), true;
    case DType::kQ6_K:
      return code.template blocks<BlockQ6_K>(), true;
    case DType::kIQ4_NL:
      return code.template blocks<BlockIQ4_NL>(), true;
    case DType::kIQ4_XS:
      return code.template blocks<BlockIQ4_XS>(), true;
    case DType::kMXFP4:
      return code.template blocks<BlockMXFP4>(), true;
    case DType::kI32:
    case DType::kI64:
    case DType::kI8:
      break;
  }
  return false;
}

void check_count(DType dtype, size_t count) {
  HADAL_CHECK(count % dtype_info(dtype).block_elements == 0,
              std::string(dtype_name(dtype)) + " of " + std::to_string(count) + " elements");
}

}  // namespace

void dequantize(DType dtype, const std::byte* source, float* target, size_t count) {
  check_count(dtype, count);
  HADAL_CHECK(with_form(dtype, Decode{source, target, count}),
              "no float form of " + std::string(dtype_name(dtype)));
}

void quantize(DType dtype, const float* source, std::byte* target, size_t count) {
  check_count(dtype, count);
  HADAL_CHECK(with_form(dtype, Encode{source, target, count}),
              "no encoding from float to " + std::string(dtype_name(dtype)));
}

}  // namespace hadal
