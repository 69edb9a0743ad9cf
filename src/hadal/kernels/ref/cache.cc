#include "hadal/kernels/ref/cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "hadal/base/check.h"
#include "hadal/tensor/quant.h"

namespace hadal::kernels::ref {
namespace {

std::byte* cache_row(const CachePages& cache, const Segment& segment, int64_t position) {
  HADAL_CHECK(position >= 0 && position < segment.position + segment.rows);
  const int64_t page = position / cache.page_tokens;
  HADAL_CHECK(page < static_cast<int64_t>(segment.blocks.size()));
  const int64_t slot = position % cache.page_tokens;
  const int64_t row = static_cast<int64_t>(segment.blocks[page]) * cache.page_tokens + slot;
  return cache.data + row * row_bytes(cache.dtype, cache.width);
}

}  // namespace

void write_cache(const CachePages& cache, const Segment& segment, int64_t position,
                 const double* values) {
  std::byte* target = cache_row(cache, segment, position);
  for (int64_t i = 0; i < cache.width; ++i) {
    const auto value = static_cast<float>(values[i]);
    if (cache.dtype == DType::kF32) {
      std::memcpy(target + 4 * i, &value, 4);
      continue;
    }
    HADAL_CHECK(cache.dtype == DType::kF16 || cache.dtype == DType::kBF16);
    const uint16_t bits = cache.dtype == DType::kF16 ? f32_to_f16(value) : f32_to_bf16(value);
    std::memcpy(target + 2 * i, &bits, 2);
  }
}

std::vector<float> read_cache(const CachePages& cache, const Segment& segment, int64_t position) {
  std::vector<float> values(static_cast<size_t>(cache.width));
  dequantize(cache.dtype, cache_row(cache, segment, position), values.data(), values.size());
  return values;
}

void rotate(const RopeRows& rope, int64_t row, double* x) {
  const int64_t pairs = rope.dims / 2;
  const bool interleaved = rope.style == RopeStyle::kInterleaved;
  for (int64_t j = 0; j < pairs; ++j) {
    const double cos = rope.cos[row * pairs + j];
    const double sin = rope.sin[row * pairs + j];
    double& first = x[interleaved ? 2 * j : j];
    double& second = x[interleaved ? 2 * j + 1 : j + pairs];
    const double a = first;
    const double b = second;
    first = a * cos - b * sin;
    second = a * sin + b * cos;
  }
}

void softmax(std::vector<double>& scores) {
  const double highest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - highest);
  for (double& score : scores) score /= sum;
}

}  // namespace hadal::kernels::ref
