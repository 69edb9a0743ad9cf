#include "hadal/kernels/testing/fixture.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "hadal/base/check.h"
#include "hadal/tensor/quant.h"

namespace hadal::kernels::testing {
namespace {

constexpr int64_t kFp8Block = 128;
constexpr int64_t kInt8Block = 32;

// Encodes as FP8 and puts what the scales and codes mean into `values`.
std::vector<float> encode_fp8(Rng& rng, int64_t rows, int64_t cols, std::vector<float>& values,
                              std::vector<std::byte>& bytes) {
  const int64_t across = (cols + kFp8Block - 1) / kFp8Block;
  const int64_t down = (rows + kFp8Block - 1) / kFp8Block;
  std::vector<float> scales(static_cast<size_t>(across * down));
  for (float& scale : scales) scale = static_cast<float>(0.01 * (1 + 7 * rng.uniform()));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      const float scale = scales[r / kFp8Block * across + c / kFp8Block];
      float& value = values[r * cols + c];
      const uint8_t code = f32_to_f8e4m3(value / scale);
      bytes[r * cols + c] = std::byte{code};
      value = f8e4m3_to_f32(code) * scale;
    }
  }
  return scales;
}

}  // namespace

Weights make_weights(DType dtype, int64_t rows, int64_t cols, int64_t count, float spread,
                     uint64_t seed) {
  Weights weights;
  weights.source.dtype = dtype;
  weights.source.rows = rows;
  weights.source.cols = cols;
  Rng rng(seed);
  for (int64_t part = 0; part < count; ++part) {
    std::vector<float> values(static_cast<size_t>(rows * cols));
    for (float& x : values) x = static_cast<float>((rng.uniform() * 2 - 1) * spread);
    std::vector<std::byte> bytes(rows * row_bytes(dtype, cols));
    if (dtype == DType::kF8E4M3) {
      weights.source.fp8_scales.push_back(encode_fp8(rng, rows, cols, values, bytes));
    } else {
      quantize(dtype, values.data(), bytes.data(), values.size());
      dequantize(dtype, bytes.data(), values.data(), values.size());
    }
    weights.parts.push_back(std::move(bytes));
    weights.values.push_back(std::move(values));
  }
  for (const auto& part : weights.parts) weights.source.parts.emplace_back(part);
  return weights;
}

Weights exact_weights(int64_t rows, int64_t cols, std::vector<float> values) {
  HADAL_CHECK(static_cast<int64_t>(values.size()) == rows * cols);
  Weights weights;
  weights.source.dtype = DType::kF32;
  weights.source.rows = rows;
  weights.source.cols = cols;
  const auto bytes = std::as_bytes(std::span(values));
  weights.parts.emplace_back(bytes.begin(), bytes.end());
  weights.source.parts.emplace_back(weights.parts[0]);
  weights.values.push_back(std::move(values));
  return weights;
}

Activations make_activations(int64_t rows, int64_t cols, float spread, uint64_t seed) {
  Activations x(rows, cols);
  Rng rng(seed);
  for (int64_t i = 0; i < rows * cols; ++i) {
    const double outlier = i % cols % 8 == 0 ? 4 : 1;
    x.values[i] = static_cast<float>((rng.uniform() * 2 - 1) * spread * outlier);
  }
  return x;
}

Activations disturbed(const Activations& x, bool quantized, uint64_t seed) {
  Activations y = x;
  Rng rng(seed);
  if (!quantized) {
    // A running sum of n terms of size t rounds n times at up to sqrt(n) t: together as if every
    // term were wrong by sqrt(n) units.
    const double relative = std::sqrt(static_cast<double>(x.cols)) * 0x1p-24;
    for (float& value : y.values) {
      value = static_cast<float>(value * (1 + relative * (rng.next() % 2 ? 1 : -1)));
    }
    return y;
  }
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t begin = 0; begin < x.cols; begin += kInt8Block) {
      const int64_t end = std::min(x.cols, begin + kInt8Block);
      float largest = 0;
      for (int64_t c = begin; c < end; ++c) largest = std::max(largest, std::abs(x.row(r)[c]));
      for (int64_t c = begin; c < end; ++c) {
        y.row(r)[c] += static_cast<float>((rng.uniform() * 2 - 1) * largest / 254);
      }
    }
  }
  return y;
}

Implementation make_implementation(const std::string& name, int threads) {
  Implementation made;
  made.pool = std::make_unique<ThreadPool>(threads);
  auto backend = make_cpu_backend(name, cpu_features(), *made.pool);
  HADAL_CHECK(backend.has_value(), backend.has_value() ? "" : backend.error().what);
  made.backend = std::move(*backend);
  return made;
}

std::vector<std::string> implementations(bool with_reference) {
  std::vector<std::string> names;
  for (const std::string_view name : cpu_implementations(cpu_features())) {
    if (with_reference || name != "ref") names.emplace_back(name);
  }
  return names;
}

std::unique_ptr<Matrix> pack(Backend& backend, const Weights& weights) {
  auto matrix = backend.pack(weights.source);
  HADAL_CHECK(matrix.has_value(), matrix.has_value() ? "" : matrix.error().what);
  return std::move(*matrix);
}

std::vector<DType> weight_types() {
  return {DType::kF32,  DType::kF16,  DType::kBF16,   DType::kF8E4M3, DType::kQ4_0, DType::kQ4_1,
          DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,   DType::kQ2_K,   DType::kQ3_K, DType::kQ4_K,
          DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4};
}

}  // namespace hadal::kernels::testing
