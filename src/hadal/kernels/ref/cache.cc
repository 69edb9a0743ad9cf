#include "hadal/kernels/ref/cache.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "hadal/base/check.h"
#include "hadal/tensor/quant.h"

namespace hadal::kernels::ref {
namespace {

// Rows of kI8 whose elements are all smaller count as zero.
constexpr float kLeastMagnitude = 1e-35f;

std::byte* cache_row(const CachePages& cache, const Segment& segment, int64_t position) {
  HADAL_CHECK(position >= 0 && position < segment.position + segment.rows);
  const int64_t page = position / cache.page_tokens;
  HADAL_CHECK(page < static_cast<int64_t>(segment.blocks.size()));
  const int64_t slot = position % cache.page_tokens;
  const int64_t row = static_cast<int64_t>(segment.blocks[page]) * cache.page_tokens + slot;
  return cache.data + row * cache_row_bytes(cache);
}

// x becomes Hx; see CachePages.
void hadamard(double* x, int64_t count) {
  const int64_t block = hadamard_block(count);
  std::vector<double> turned(static_cast<size_t>(block));
  for (int64_t begin = 0; begin < count; begin += block) {
    for (int64_t i = 0; i < block; ++i) {
      double sum = 0;
      for (int64_t j = 0; j < block; ++j) {
        const bool minus = std::popcount(static_cast<uint64_t>(i & j)) % 2 == 1;
        sum += minus ? -x[begin + j] : x[begin + j];
      }
      turned[i] = sum / std::sqrt(static_cast<double>(block));
    }
    std::copy(turned.begin(), turned.end(), x + begin);
  }
}

// Where the pieces of a part of kI8 begin, in bytes.
struct Int8Part {
  explicit Int8Part(const CachePages& cache)
      : elements(cache.width / cache.parts),
        coarse(elements - cache.fine),
        fine_at((coarse + 3) / 4 * 4),
        scale_at(fine_at + (cache.fine + 1) / 2 * 4) {}
  int64_t elements, coarse, fine_at, scale_at;
};

// Codes of x[0, count) in [-greatest, greatest]: put(i, code). Returns the scale.
template <class Put>
float encode(const double* x, int64_t count, int greatest, Put put) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto magnitude = static_cast<float>(std::abs(x[i]));
    // A NaN wins over all, and stays.
    if (!(magnitude <= largest)) largest = magnitude;
    if (std::isnan(magnitude)) break;
  }
  const float scale = largest / static_cast<float>(greatest);
  const bool plain = largest >= kLeastMagnitude && std::isfinite(largest);
  for (int64_t i = 0; i < count; ++i) {
    put(i, plain ? static_cast<int>(std::lrint(x[i] * greatest / largest)) : 0);
  }
  return plain || !std::isfinite(largest) ? scale : 0.0f;
}

void write_int8(const CachePages& cache, const double* values, std::byte* target) {
  const Int8Part at(cache);
  std::vector<double> x(values, values + at.elements);
  hadamard(x.data(), at.coarse);
  const float scale = encode(x.data(), at.coarse, 127, [&](int64_t i, int code) {
    target[i] = static_cast<std::byte>(code + 128);
  });
  std::memcpy(target + at.scale_at, &scale, 4);
  if (cache.fine == 0) return;
  const float fine = encode(x.data() + at.coarse, cache.fine, 8191, [&](int64_t i, int code) {
    const auto word = static_cast<int16_t>(code);
    std::memcpy(target + at.fine_at + 2 * i, &word, 2);
  });
  std::memcpy(target + at.scale_at + 4, &fine, 4);
}

void read_int8(const CachePages& cache, const std::byte* source, float* values) {
  const Int8Part at(cache);
  float scales[2] = {};
  std::memcpy(scales, source + at.scale_at, cache.fine > 0 ? 8 : 4);
  std::vector<double> x(static_cast<size_t>(at.elements));
  for (int64_t i = 0; i < at.coarse; ++i) {
    x[i] = static_cast<double>(scales[0]) * (std::to_integer<int>(source[i]) - 128);
  }
  for (int64_t i = 0; i < cache.fine; ++i) {
    int16_t code;
    std::memcpy(&code, source + at.fine_at + 2 * i, 2);
    x[at.coarse + i] = static_cast<double>(scales[1]) * code;
  }
  hadamard(x.data(), at.coarse);
  for (int64_t i = 0; i < at.elements; ++i) values[i] = static_cast<float>(x[i]);
}

}  // namespace

void write_cache(const CachePages& cache, const Segment& segment, int64_t position,
                 const double* values) {
  std::byte* target = cache_row(cache, segment, position);
  if (cache.dtype == DType::kI8) {
    const auto bytes = static_cast<int64_t>(cache_row_bytes(cache)) / cache.parts;
    for (int64_t p = 0; p < cache.parts; ++p) {
      write_int8(cache, values + p * (cache.width / cache.parts), target + p * bytes);
    }
    return;
  }
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
  const std::byte* source = cache_row(cache, segment, position);
  if (cache.dtype != DType::kI8) {
    dequantize(cache.dtype, source, values.data(), values.size());
    return values;
  }
  const auto bytes = static_cast<int64_t>(cache_row_bytes(cache)) / cache.parts;
  for (int64_t p = 0; p < cache.parts; ++p) {
    read_int8(cache, source + p * bytes, values.data() + p * (cache.width / cache.parts));
  }
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
