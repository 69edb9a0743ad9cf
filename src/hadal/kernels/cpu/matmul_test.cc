// Panels against a scalar oracle in double, and the batch rule bit by bit.
#include "hadal/kernels/cpu/matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "hadal/base/threads.h"
#include "hadal/hw/cpu.h"
#include "hadal/kernels/backend.h"
#include "hadal/kernels/cpu/panel.h"
#include "hadal/kernels/cpu/testing/weights.h"
#include "hadal/tensor/quant.h"

namespace hadal::kernels::cpu {
namespace {

std::unique_ptr<PackedMatrix> pack(const Weights& weights, ThreadPool& pool) {
  auto packed = PackedMatrix::make(weights.source(), pool);
  EXPECT_TRUE(packed.has_value()) << packed.error().what;
  return std::move(*packed);
}

std::vector<float> multiplied(CpuContext& context, const PackedMatrix& matrix,
                              const std::vector<float>& x) {
  const int64_t n = static_cast<int64_t>(x.size()) / matrix.cols();
  std::vector<float> out(static_cast<size_t>(n * matrix.rows()), -7.0f);
  multiply(context, 0, matrix, 0, view(x, matrix.cols()), view(out, matrix.rows()), false);
  return out;
}

// The least number of levels that the largest of x [columns] may be rounded to: 127, or for a
// super-block what keeps the magnitudes of 16 codes within 1023 in all.
double levels(const float* x, int64_t columns, double largest, bool super) {
  if (!super) return 127;
  double most = 0;
  for (int64_t i = 0; i < columns; i += 16) {
    double sum = 0;
    for (int64_t k = i; k < i + 16; ++k) sum += std::fabs(double{x[k]});
    most = std::max(most, sum * 127 / largest + 8);  // 8: rounded up
  }
  return most <= 1023 ? 127 : std::floor(127 * 1015 / (most + 8));
}

// Outputs must lie within `bound` of the exact product. An activation rounded to int8 is off by at
// most half a step, largest / levels / 2 of its block of 32 or super-block of 256; float
// accumulation adds a few units of 2^-24 per block.
void expect_close(const Weights& w, const std::vector<float>& x, const std::vector<float>& out) {
  const int64_t n = static_cast<int64_t>(x.size()) / w.cols;
  const bool rounded = dtype_info(w.dtype).quantized;
  const bool super = activations(*panel_form(w.dtype)) == Activations::kSupers;
  const int64_t block = super ? 256 : 32;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t r = 0; r < w.rows; ++r) {
      double exact = 0, bound = 1e-30;
      for (int64_t b = 0; b < w.cols; b += block) {
        const int64_t end = std::min(w.cols, b + block);
        double largest = 0;
        for (int64_t k = b; k < end; ++k)
          largest = std::max(largest, std::fabs(double{x[i * w.cols + k]}));
        const double step = rounded && largest > 0
                                ? largest / levels(&x[i * w.cols + b], end - b, largest, super)
                                : 0;
        for (int64_t k = b; k < end; ++k) {
          const double weight = w.decoded[r * w.cols + k];
          exact += weight * x[i * w.cols + k];
          bound += std::fabs(weight) * step / 2 * 1.0001;
          bound += std::fabs(weight) * largest * static_cast<double>(w.cols / 32 + 40) * 0x1p-24;
        }
      }
      ASSERT_NEAR(out[i * w.rows + r], exact, bound)
          << dtype_name(w.dtype) << " [" << w.rows << ", " << w.cols << "], row " << i << " of "
          << n << ", output " << r;
    }
  }
}

struct Shape {
  int64_t rows, cols;
};

std::vector<Shape> shapes(DType dtype) {
  const int64_t block = dtype_info(dtype).block_elements;
  if (block == 256) return {{1, 256}, {33, 512}, {16, 2048}, {50, 256}};
  if (block == 32) return {{1, 32}, {33, 96}, {16, 1408}, {50, 160}, {48, 2048}};
  return {{1, 1}, {16, 30}, {33, 96}, {50, 160}, {130, 257}, {17, 130}, {256, 448}};
}

class EveryQuantizedType : public ::testing::TestWithParam<DType> {};
class EveryType : public ::testing::TestWithParam<DType> {};

TEST_P(EveryType, MatchesTheOracle) {
  ThreadPool pool(1);
  for (const Isa isa : usable_sets()) {
    CpuContext context(pool, isa);
    for (const Shape shape : shapes(GetParam())) {
      const Weights weights(GetParam(), shape.rows, shape.cols, 11);
      const auto matrix = pack(weights, pool);
      for (const int64_t n : {1, 2, 3, 7, 8, 16, 33, 64, 65, 130}) {
        const std::vector<float> x = random_floats(5 + n, n * shape.cols, 3.0f);
        expect_close(weights, x, multiplied(context, *matrix, x));
      }
    }
  }
}

TEST_P(EveryType, ARowIsTheSameBitsAloneAndAmongOthersAndOnEverySet) {
  ThreadPool pool(1);
  const Shape shape = shapes(GetParam())[2];
  const Weights weights(GetParam(), shape.rows, shape.cols, 3);
  const auto matrix = pack(weights, pool);
  const std::vector<float> x = random_floats(9, 70 * shape.cols, 2.0f);
  std::vector<float> first;
  for (const Isa isa : usable_sets()) {
    CpuContext context(pool, isa);
    const std::vector<float> all = multiplied(context, *matrix, x);
    for (const int64_t n : {1, 2, 3, 4, 5, 8, 9, 31}) {
      for (const int64_t begin : {int64_t{0}, 70 - n}) {
        const std::vector<float> some(x.begin() + begin * shape.cols,
                                      x.begin() + (begin + n) * shape.cols);
        const std::vector<float> out = multiplied(context, *matrix, some);
        ASSERT_EQ(
            0, std::memcmp(out.data(), all.data() + begin * shape.rows, out.size() * sizeof(float)))
            << n << " rows from " << begin;
      }
    }
    if (first.empty()) first = all;
    ASSERT_EQ(0, std::memcmp(first.data(), all.data(), all.size() * sizeof(float)));
  }
}

TEST_P(EveryType, DecodesRows) {
  ThreadPool pool(1);
  for (const Shape shape : shapes(GetParam())) {
    const Weights weights(GetParam(), shape.rows, shape.cols, 21);
    const auto matrix = pack(weights, pool);
    std::vector<float> row(static_cast<size_t>(shape.cols));
    for (int64_t r = 0; r < shape.rows; ++r) {
      matrix->decode_row(0, r, row.data());
      for (int64_t c = 0; c < shape.cols; ++c) {
        const float wanted = weights.decoded[r * shape.cols + c];
        ASSERT_NEAR(row[c], wanted, std::fabs(wanted) * 1e-6) << r << ", " << c;
      }
    }
  }
}

// Random bytes reach every code, sub-scale and sign; only the floating scales must be kept finite.
TEST_P(EveryQuantizedType, AnyBytes) {
  ThreadPool pool(1);
  const DType dtype = GetParam();
  const int64_t cols = 512, rows = 32;
  Weights weights(dtype, rows, cols, 1);
  Rng rng(77);
  const std::vector<std::byte> original = weights.bytes;
  const uint32_t block = dtype_info(dtype).block_bytes;
  const auto is_scale = [&](uint64_t at) {  // bytes of a float in a block
    switch (dtype) {
      case DType::kMXFP4:
        return at < 1;
      case DType::kQ4_1:
      case DType::kQ5_1:
      case DType::kQ4_K:
      case DType::kQ5_K:
        return at < 4;
      case DType::kQ2_K:
        return at >= 80;
      case DType::kQ3_K:
        return at >= 108;
      case DType::kQ6_K:
        return at >= 208;
      default:
        return at < 2;
    }
  };
  for (size_t i = 0; i < original.size(); ++i) {
    if (!is_scale(i % block)) weights.bytes[i] = static_cast<std::byte>(rng.next());
  }
  weights.decode();
  const auto matrix = pack(weights, pool);
  const std::vector<float> x = random_floats(4, 3 * cols);
  for (const Isa isa : usable_sets()) {
    CpuContext context(pool, isa);
    expect_close(weights, x, multiplied(context, *matrix, x));
  }
}

TEST_P(EveryType, ExtremesDoNotSaturate) {
  ThreadPool pool(1);
  const DType dtype = GetParam();
  const int64_t cols = 512, rows = 16;
  for (const int fill : {0x00, 0x7F, 0x80, 0xFF, 0x55}) {
    Weights weights(dtype, rows, cols, 1);
    if (dtype_info(dtype).quantized) {
      // Every byte that is not a scale at its extreme.
      const uint32_t block = dtype_info(dtype).block_bytes;
      for (size_t i = 0; i < weights.bytes.size(); ++i) {
        const size_t at = i % block;
        if (at >= 4 && at < block - 4) weights.bytes[i] = static_cast<std::byte>(fill);
      }
    }
    weights.decode();
    const auto matrix = pack(weights, pool);
    for (const float sign : {1.0f, -1.0f}) {
      std::vector<float> x(static_cast<size_t>(2 * cols), sign * 1000.0f);
      for (int64_t k = 0; k < cols; k += 2) x[cols + k] = -x[cols + k];
      for (const Isa isa : usable_sets()) {
        CpuContext context(pool, isa);
        expect_close(weights, x, multiplied(context, *matrix, x));
      }
    }
  }
}

TEST_P(EveryType, NanAndZeroRowsStayTheirOwn) {
  ThreadPool pool(1);
  const int64_t cols = 256, rows = 33;
  const Weights weights(GetParam(), rows, cols, 8);
  const auto matrix = pack(weights, pool);
  std::vector<float> x = random_floats(1, 5 * cols);
  const std::vector<float> clean = x;
  x[4 * cols + 200] = -std::numeric_limits<float>::infinity();
  x[cols + 77] = std::numeric_limits<float>::quiet_NaN();
  std::fill(x.begin() + 2 * cols, x.begin() + 3 * cols, 0.0f);
  for (const Isa isa : usable_sets()) {
    CpuContext context(pool, isa);
    const std::vector<float> expected = multiplied(context, *matrix, clean);
    const std::vector<float> out = multiplied(context, *matrix, x);
    for (int64_t r = 0; r < rows; ++r) {
      EXPECT_EQ(out[r], expected[r]);
      EXPECT_TRUE(std::isnan(out[rows + r]));
      EXPECT_EQ(out[2 * rows + r], 0.0f);
      EXPECT_EQ(out[3 * rows + r], expected[3 * rows + r]);
      EXPECT_FALSE(std::isfinite(out[4 * rows + r]));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, EveryQuantizedType,
                         ::testing::ValuesIn(std::begin(kAllTypes) + 4, std::end(kAllTypes)),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });
INSTANTIATE_TEST_SUITE_P(Types, EveryType, ::testing::ValuesIn(kAllTypes),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

TEST(PackedMatrix, RefusesWhatItCannotRun) {
  ThreadPool pool(1);
  const std::vector<std::byte> bytes(64);
  const MatrixSource integers{DType::kI32, 1, 16, {std::span(bytes)}, {}};
  auto packed = PackedMatrix::make(integers, pool);
  ASSERT_FALSE(packed.has_value());
  EXPECT_EQ(packed.error().code, Code::kUnsupported);
  EXPECT_NE(packed.error().what.find("i32"), std::string::npos);

  Weights fp8(DType::kF8E4M3, 2, 64, 1);
  fp8.bytes[70] = std::byte{0xFF};
  packed = PackedMatrix::make(fp8.source(), pool);
  ASSERT_FALSE(packed.has_value());
  EXPECT_EQ(packed.error().code, Code::kCorrupt);
}

TEST(CpuImplementations, AreRefusedByName) {
  ThreadPool pool(1);
  CpuFeatures features;
  features.avx2 = features.fma = features.f16c = true;
  features.avx512f = features.avx512bw = features.avx512vl = features.avx512dq = true;
  EXPECT_EQ(cpu_implementations(features), (std::vector<std::string_view>{"avx2", "ref"}));
  auto backend = make_cpu_backend("avx512", features, pool);
  ASSERT_FALSE(backend.has_value());
  EXPECT_EQ(backend.error().code, Code::kUnsupported);
  EXPECT_NE(backend.error().what.find("lacks avx512_vnni"), std::string::npos);

  backend = make_cpu_backend("sse9", features, pool);
  ASSERT_FALSE(backend.has_value());
  EXPECT_NE(backend.error().what.find("avx512, avx2, ref"), std::string::npos);

  backend = make_cpu_backend("", CpuFeatures{}, pool);
  ASSERT_TRUE(backend.has_value());
  EXPECT_EQ((*backend)->name(), "ref");
}

}  // namespace
}  // namespace hadal::kernels::cpu
