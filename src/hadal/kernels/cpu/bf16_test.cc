// The set that rounds activations to BF16 for BF16 and FP8 weights; and the benchmarks, run small.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "hadal/hw/cpu.h"
#include "hadal/kernels/backend.h"
#include "hadal/kernels/cpu/matmul.h"
#include "hadal/kernels/cpu/testing/linear_problem.h"
#include "hadal/kernels/cpu/testing/weights.h"
#include "hadal/tensor/quant.h"

namespace hadal::kernels::cpu {
namespace {

bool has_bf16() {
  ThreadPool pool(1);
  return make_cpu_backend("avx512bf16", cpu_features(), pool).has_value();
}

float rounded(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000;
  std::memcpy(&x, &bits, sizeof(bits));
  return x;
}

std::vector<float> multiplied(CpuContext& context, const PackedMatrix& matrix,
                              const std::vector<float>& x) {
  const int64_t n = static_cast<int64_t>(x.size()) / matrix.cols();
  std::vector<float> out(static_cast<size_t>(n * matrix.rows()), -7.0f);
  multiply(context, 0, matrix, 0, view(x, matrix.cols()), view(out, matrix.rows()), false);
  return out;
}

class Bf16 : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!has_bf16()) GTEST_SKIP() << "this processor has no AVX512-BF16";
  }
  ThreadPool pool_{1};
};

TEST_P(Bf16, IsExactForRoundedActivations) {
  CpuContext context(pool_, Isa::kAvx512Bf16);
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{17, 130}, {130, 257}, {16, 1}}) {
    const Weights weights(GetParam(), rows, cols, 11);
    const auto matrix = std::move(*PackedMatrix::make(weights.source(), pool_));
    for (const int64_t n : {1, 2, 3, 7, 8, 15, 70}) {
      const std::vector<float> x = random_floats(5 + n, n * cols, 3.0f);
      const std::vector<float> out = multiplied(context, *matrix, x);
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t r = 0; r < rows; ++r) {
          double exact = 0, bound = 1e-30;
          for (int64_t k = 0; k < cols; ++k) {
            const double term =
                double{weights.decoded[r * cols + k]} * double{rounded(x[i * cols + k])};
            exact += term;
            bound += std::fabs(term) * static_cast<double>(cols) * 0x1p-23;
          }
          ASSERT_NEAR(out[i * rows + r], exact, bound) << n << ", " << i << ", " << r;
        }
      }
    }
  }
}

TEST_P(Bf16, ARowIsTheSameBitsAloneAndAmongOthers) {
  CpuContext context(pool_, Isa::kAvx512Bf16);
  const int64_t rows = 50, cols = 300;
  const Weights weights(GetParam(), rows, cols, 3);
  const auto matrix = std::move(*PackedMatrix::make(weights.source(), pool_));
  const std::vector<float> x = random_floats(9, 70 * cols, 2.0f);
  const std::vector<float> all = multiplied(context, *matrix, x);
  for (const int64_t n : {1, 2, 3, 5, 8, 13}) {
    for (const int64_t begin : {int64_t{0}, 70 - n}) {
      const std::vector<float> some(x.begin() + begin * cols, x.begin() + (begin + n) * cols);
      const std::vector<float> out = multiplied(context, *matrix, some);
      ASSERT_EQ(0, std::memcmp(out.data(), all.data() + begin * rows, out.size() * sizeof(float)));
    }
  }
}

TEST_P(Bf16, NanStaysInItsRow) {
  CpuContext context(pool_, Isa::kAvx512Bf16);
  const int64_t rows = 33, cols = 256;
  const Weights weights(GetParam(), rows, cols, 8);
  const auto matrix = std::move(*PackedMatrix::make(weights.source(), pool_));
  std::vector<float> x = random_floats(1, 3 * cols);
  x[cols + 77] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> out = multiplied(context, *matrix, x);
  for (int64_t r = 0; r < rows; ++r) {
    EXPECT_TRUE(std::isfinite(out[r]));
    EXPECT_TRUE(std::isnan(out[rows + r]));
    EXPECT_TRUE(std::isfinite(out[2 * rows + r]));
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Bf16, ::testing::Values(DType::kBF16, DType::kF8E4M3),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

// Every weight type: the other types are those of avx512, bit for bit.
TEST(Bf16Set, IsAvx512ForOtherTypes) {
  if (!has_bf16()) GTEST_SKIP() << "this processor has no AVX512-BF16";
  ThreadPool pool(1);
  CpuContext one(pool, Isa::kAvx512), other(pool, Isa::kAvx512Bf16);
  for (const DType dtype : kAllTypes) {
    if (dtype == DType::kBF16 || dtype == DType::kF8E4M3) continue;
    const Weights weights(dtype, 40, 256, 4);
    const auto matrix = std::move(*PackedMatrix::make(weights.source(), pool));
    const std::vector<float> x = random_floats(2, 5 * 256);
    EXPECT_EQ(multiplied(one, *matrix, x), multiplied(other, *matrix, x)) << dtype_name(dtype);
  }
}

TEST(Bf16Set, IsChosenByNameOnly) {
  ThreadPool pool(1);
  CpuFeatures all;
  all.avx2 = all.fma = all.f16c = true;
  all.avx512f = all.avx512bw = all.avx512vl = all.avx512dq = all.avx512_vnni = true;
  auto backend = make_cpu_backend("avx512bf16", all, pool);
  ASSERT_FALSE(backend.has_value());
  EXPECT_NE(backend.error().what.find("lacks avx512_bf16"), std::string::npos);
  all.avx512_bf16 = true;
  backend = make_cpu_backend("", all, pool);
  ASSERT_TRUE(backend.has_value());
  EXPECT_EQ((*backend)->name(), "avx512");
}

TEST(LinearProblem, RunsSmallForEveryTypeAndCount) {
  ThreadPool pool(2);
  for (const Isa isa : usable_sets()) {
    for (const DType dtype : kAllTypes) {
      for (const int64_t n : {1, 4, 8, 16, 64, 130}) {
        LinearProblem problem(dtype, 80, 256, n, pool, isa);
        problem.run();
        EXPECT_GT(problem.operations() * problem.bytes(), 0);
        for (const float y : problem.out()) ASSERT_TRUE(std::isfinite(y)) << dtype_name(dtype);
      }
    }
  }
}

}  // namespace
}  // namespace hadal::kernels::cpu
