// Random weights in every type, with what they decode to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "hadal/base/rng.h"
#include "hadal/hw/cpu.h"
#include "hadal/kernels/backend.h"
#include "hadal/kernels/cpu/matmul.h"
#include "hadal/tensor/quant.h"

namespace hadal::kernels::cpu {

inline constexpr DType kAllTypes[] = {
    DType::kF32,  DType::kF16,  DType::kBF16,   DType::kF8E4M3, DType::kQ4_0,  DType::kQ4_1,
    DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,   DType::kQ2_K,   DType::kQ3_K,  DType::kQ4_K,
    DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4,
};

inline std::vector<float> random_floats(uint64_t seed, int64_t count, float scale = 1.0f) {
  Rng rng(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = scale * static_cast<float>(2.0 * rng.uniform() - 1.0);
  return values;
}

// A matrix of one part in the file's bytes, and what they decode to.
struct Weights {
  Weights(DType type, int64_t row_count, int64_t col_count, uint64_t seed)
      : Weights(type, row_count, col_count, random_floats(seed, row_count * col_count)) {}

  Weights(DType type, int64_t row_count, int64_t col_count, const std::vector<float>& original)
      : dtype(type), rows(row_count), cols(col_count) {
    bytes.resize(static_cast<size_t>(rows) * row_bytes(dtype, cols));
    decoded.resize(static_cast<size_t>(rows * cols));
    quantize(dtype, original.data(), bytes.data(), decoded.size());
    decode();
  }

  void decode() {
    dequantize(dtype, bytes.data(), decoded.data(), decoded.size());
    if (dtype != DType::kF8E4M3) return;
    const int64_t across = (cols + 127) / 128;
    const int64_t blocks = (rows + 127) / 128 * across;
    scales.clear();
    for (int64_t i = 0; i < blocks; ++i) scales.push_back(0.25f + 0.375f * static_cast<float>(i));
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        decoded[r * cols + c] *= scales[r / 128 * across + c / 128];
      }
    }
  }

  MatrixSource source() const {
    MatrixSource source{dtype, rows, cols, {std::span(bytes)}, {}};
    if (!scales.empty()) source.fp8_scales.push_back(scales);
    return source;
  }

  DType dtype;
  int64_t rows, cols;
  std::vector<std::byte> bytes;
  std::vector<float> decoded;
  std::vector<float> scales;
};

inline View view(std::vector<float>& values, int64_t cols) {
  return {values.data(), static_cast<int64_t>(values.size()) / cols, cols, cols};
}
inline ConstView view(const std::vector<float>& values, int64_t cols) {
  return {values.data(), static_cast<int64_t>(values.size()) / cols, cols, cols};
}

inline std::vector<Isa> usable_sets() {
  std::vector<Isa> sets;
  for (const std::string_view name : cpu_implementations(cpu_features())) {
    if (name == "avx2") sets.push_back(Isa::kAvx2);
    if (name == "avx512") sets.push_back(Isa::kAvx512);
  }
  return sets;
}

}  // namespace hadal::kernels::cpu
