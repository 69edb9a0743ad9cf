// Element types of tensors, in memory and in files. Block layouts follow ggml's published formats;
// each quantised type's encode and decode in tensor/quant is the definition that every kernel is
// tested with.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace hadal {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF8E4M3,  // DeepSeek's FP8: value = element * scale_inv of its 128x128 block, scales held apart
  kI32,
  kI64,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
  kMXFP4,
  kF8E8M0,  // an exponent alone, 2^(bits - 127): the block scales beside kF8E4M3 in some
            // checkpoints
  kI8,      // caches only: codes whose scales stand beside them (kernels/op/attention.h)
};
inline constexpr int kDTypeCount = static_cast<int>(DType::kI8) + 1;

struct DTypeInfo {
  std::string_view name;    // as users write it: "q4_k"
  uint32_t block_elements;  // consecutive elements of a row that share scales; 1 when not blocked
  uint32_t block_bytes;
  bool quantized;  // integer codes with scales
};

const DTypeInfo& dtype_info(DType dtype);
inline std::string_view dtype_name(DType dtype) { return dtype_info(dtype).name; }
std::optional<DType> dtype_from_name(std::string_view name);

// Bytes of one row of `elements`; `elements` must be a multiple of block_elements.
inline uint64_t row_bytes(DType dtype, uint64_t elements) {
  const DTypeInfo& info = dtype_info(dtype);
  return elements / info.block_elements * info.block_bytes;
}

}  // namespace hadal
