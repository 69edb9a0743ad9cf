// Attention's inner loops by themselves, in every instruction set of this machine.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "hadal/kernels/backend.h"
#include "hadal/kernels/cpu/attention_kernels.h"
#include "hadal/tensor/quant.h"

namespace hadal::kernels::cpu {
namespace {

class AttentionKernelsTest : public ::testing::TestWithParam<std::string> {
 protected:
  const AttentionKernels& kernels() const {
    return attention_kernels(GetParam() == "avx512" ? Isa::kAvx512 : Isa::kAvx2);
  }
};

std::vector<std::string> sets() {
  std::vector<std::string> names;
  for (const std::string_view name : cpu_implementations(cpu_features())) {
    if (name != "ref") names.emplace_back(name);
  }
  return names;
}
INSTANTIATE_TEST_SUITE_P(Cpu, AttentionKernelsTest, ::testing::ValuesIn(sets()),
                         [](const auto& info) { return info.param; });

// One lane sees scores 0 and x, so that the second weight is e^x: within 2 units in the last place.
TEST_P(AttentionKernelsTest, ExponentialIsWithinTwoUnits) {
  double worst = 0;
  for (int i = 0; i <= 87 * 4096; ++i) {
    const float x = -static_cast<float>(i) / 4096;
    alignas(64) float scores[kSpanTokens * kTileLanes] = {};
    alignas(64) float visible[kTileLanes] = {2};
    alignas(64) float shrink[kTileLanes];
    scores[kTileLanes] = x;
    TileState state{};
    state.greatest[0] = -INFINITY;
    kernels().soften(scores, 2, visible, 1.0f, state, shrink);
    ASSERT_EQ(scores[0], 1.0f);
    const double expected = std::exp(static_cast<double>(x));
    const double unit = std::ldexp(1.0, std::ilogb(expected) - 23);
    worst = std::max(worst, std::abs(scores[kTileLanes] - expected) / unit);
  }
  EXPECT_LE(worst, 2.0);
  RecordProperty("worst_units", std::to_string(worst));
}

TEST_P(AttentionKernelsTest, FarScoresVanishAndMaskedOnesAreZero) {
  alignas(64) float scores[kSpanTokens * kTileLanes] = {};
  alignas(64) float visible[kTileLanes] = {3, 2, 0};
  alignas(64) float shrink[kTileLanes];
  const float odd[] = {-1e30f, -200.0f, -88.0f};
  for (int t = 0; t < 3; ++t) scores[t * kTileLanes] = odd[t] + 0.0f;
  for (int t = 0; t < 3; ++t) scores[t * kTileLanes + 1] = t == 2 ? 1e30f : 1.0f;
  TileState state{};
  for (float& greatest : state.greatest) greatest = -INFINITY;
  kernels().soften(scores, 3, visible, 1.0f, state, shrink);
  EXPECT_EQ(scores[2 * kTileLanes], 1.0f);
  EXPECT_LT(scores[0], 1e-37f);
  EXPECT_EQ(scores[2 * kTileLanes + 1], 0.0f) << "not visible, though greatest";
  EXPECT_EQ(state.greatest[1], 1.0f);
  EXPECT_EQ(state.sum[1], 2.0f);
  EXPECT_EQ(state.sum[2], 0.0f) << "a lane that has seen nothing";
  EXPECT_EQ(state.greatest[2], -INFINITY);
  EXPECT_EQ(shrink[2], 0.0f);
}

TEST_P(AttentionKernelsTest, EveryHalfIsLoadedAsItsDefinition) {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    for (uint32_t first = 0; first < 65536; first += 16) {
      uint16_t bits[16];
      for (uint32_t i = 0; i < 16; ++i) bits[i] = static_cast<uint16_t>(first + i);
      float actual[16];
      kernels().load_row({dtype, 16, 0}, reinterpret_cast<const std::byte*>(bits), actual);
      for (int i = 0; i < 16; ++i) {
        const float expected = dtype == DType::kF16 ? f16_to_f32(bits[i]) : bf16_to_f32(bits[i]);
        if (std::isnan(expected)) {
          EXPECT_TRUE(std::isnan(actual[i]));
        } else {
          ASSERT_EQ(std::bit_cast<uint32_t>(actual[i]), std::bit_cast<uint32_t>(expected));
        }
      }
    }
  }
}

// Numbers around every boundary between two halves, and all kinds of others.
std::vector<float> rounding_cases() {
  std::vector<float> values;
  for (uint32_t top = 0; top < 65536; ++top) {
    for (const uint32_t low :
         {0x0000u, 0x0001u, 0x0fffu, 0x1000u, 0x1001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      values.push_back(std::bit_cast<float>(top << 16 | low));
    }
  }
  values.resize((values.size() + 15) / 16 * 16);
  return values;
}

TEST_P(AttentionKernelsTest, StoringRoundsAsTheDefinition) {
  const std::vector<float> values = rounding_cases();
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    std::vector<uint16_t> bits(values.size());
    kernels().store_row({dtype, static_cast<int64_t>(values.size()), 0}, values.data(),
                        reinterpret_cast<std::byte*>(bits.data()));
    for (size_t i = 0; i < values.size(); ++i) {
      const bool half = dtype == DType::kF16;
      const uint16_t expected = half ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
      if (std::isnan(values[i])) {
        EXPECT_TRUE(std::isnan(half ? f16_to_f32(bits[i]) : bf16_to_f32(bits[i])));
      } else {
        ASSERT_EQ(bits[i], expected) << std::bit_cast<uint32_t>(values[i]);
      }
    }
  }
}

// Every length around a vector: what lies behind stays, what is padding is zero.
TEST_P(AttentionKernelsTest, RowsOfAnyLength) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (int64_t count = 1; count <= 50; ++count) {
      std::vector<float> source(static_cast<size_t>(count));
      for (int64_t i = 0; i < count; ++i) source[i] = static_cast<float>(i + 1);
      const uint64_t bytes = row_bytes(dtype, count);
      std::vector<std::byte> stored(bytes + 8, std::byte{0xA5});
      kernels().store_row({dtype, count, 0}, source.data(), stored.data());
      for (uint64_t i = bytes; i < stored.size(); ++i) EXPECT_EQ(stored[i], std::byte{0xA5});
      std::vector<float> loaded(static_cast<size_t>(padded_width(count)) + 1, 7.0f);
      kernels().load_row({dtype, count, 0}, stored.data(), loaded.data());
      for (int64_t i = 0; i < padded_width(count); ++i) {
        EXPECT_EQ(loaded[i], i < count ? source[i] : 0.0f) << count << " " << i;
      }
      EXPECT_EQ(loaded.back(), 7.0f);
    }
  }
}

// Merging what follows into what has seen nothing, or nothing into what came before, changes no
// bits.
TEST_P(AttentionKernelsTest, MergingNothingIsExact) {
  constexpr int kWidth = 20;
  TileState seen{};
  TileState nothing{};
  std::vector<float> context(kTileLanes * 32);
  for (int lane = 0; lane < kTileLanes; ++lane) {
    seen.greatest[lane] = 0.1f * static_cast<float>(lane) - 1;
    seen.sum[lane] = 1.0f / static_cast<float>(lane + 3);
    nothing.greatest[lane] = -INFINITY;
  }
  for (size_t i = 0; i < context.size(); ++i) context[i] = 1.0f / static_cast<float>(i + 1);
  const std::vector<float> zeros(context.size());
  const auto merge = [&](TileState& state, std::vector<float>& mine, const TileState& later,
                         const std::vector<float>& theirs) {
    alignas(64) float keep[kTileLanes];
    alignas(64) float take[kTileLanes];
    kernels().merge(state, later, keep, take);
    for (int lane = 0; lane < kTileLanes; ++lane) {
      kernels().merge_context(keep[lane], take[lane], theirs.data() + lane * 32, kWidth,
                              mine.data() + lane * 32);
    }
  };

  TileState state = seen;
  std::vector<float> kept = context;
  merge(state, kept, nothing, zeros);
  EXPECT_EQ(kept, context);
  EXPECT_EQ(std::memcmp(&state, &seen, sizeof(state)), 0);

  state = nothing;
  std::vector<float> taken = zeros;
  merge(state, taken, seen, context);
  EXPECT_EQ(taken, context);
  EXPECT_EQ(std::memcmp(&state, &seen, sizeof(state)), 0);
}

}  // namespace
}  // namespace hadal::kernels::cpu
