// Attention over caches of bf16 by AVX-512-BF16's dot products.
#include <cstddef>
#include <cstdint>

#include "hadal/kernels/cpu/attention_direct.h"
#include "hadal/kernels/cpu/avx512_intrinsics.h"
#include "hadal/kernels/cpu/region.h"

HADAL_TARGET_BEGIN(HADAL_TARGET_AVX512 ",avx512bf16")
namespace hadal::kernels::cpu::avx512 {
namespace {

#include "hadal/kernels/cpu/attention_direct-inl.h"

constexpr int kSpan = 64;

// Steps are whole, and none has elements of both head and tail.
inline bool takes(const PartForm& keys, const PartForm& values, int64_t head_width) {
  return values.dtype == DType::kBF16 && keys.count * 2 % kStep == 0 && head_width * 2 % kStep == 0;
}
inline int64_t tile_bytes(const PartForm& keys) { return keys.count * 2 / kStep * kStepBytes; }

HADAL_INLINE __m128i rounded_at(const float* x, float scale) {
  return reinterpret_cast<__m128i>(
      _mm256_cvtneps_pbh(_mm256_mul_ps(_mm256_loadu_ps(x), _mm256_set1_ps(scale))));
}

inline void pack(const PartForm& keys, float scale, const float* const* heads, int64_t head_width,
                 const float* const* tails, std::byte* tile) {
  __builtin_memset(tile, 0, static_cast<size_t>(tile_bytes(keys)));
  for (int lane = 0; lane < kTileLanes; ++lane) {
    if (heads[lane] == nullptr) continue;
    for (int64_t i = 0; i < keys.count; i += kStep / 2) {
      const float* x = i < head_width ? heads[lane] + i : tails[lane] + (i - head_width);
      _mm_store_si128(reinterpret_cast<__m128i*>(query_at(tile, i * 2, lane)),
                      rounded_at(x, scale));
    }
  }
}

struct Form {
  struct Dot {
    HADAL_INLINE static void add(__m512& sum, __m512i a, __m512i b) {
      asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    }
  };
  static constexpr int kSpan = avx512::kSpan;
  static constexpr int kWordTokens = 2;

  template <int kUsed>
  HADAL_INLINE static void score_block(const PartForm& keys, const std::byte* queries,
                                       const std::byte* key, int64_t stride, float* scores) {
    __m512 sums[kTogether][kFours];
    add_steps<Dot, kUsed>(sums, queries, keys.count * 2 / kStep, key, stride);
#pragma GCC unroll 4
    for (int t = 0; t < kTogether; ++t) {
      _mm512_store_ps(scores + t * 16, in_order(add_across(sums[t])));
    }
  }

  HADAL_INLINE static void interleave(const std::byte* const* rows, int64_t column, int64_t left,
                                      __m512i* target) {
    const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40,
                                         8, 39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const int64_t count = left - 32 * half;
      const __mmask32 mask = count >= 32 ? ~__mmask32{0}
                             : count > 0 ? (__mmask32{1} << count) - 1
                                         : __mmask32{0};
      const int64_t at = column * 2 + 64 * half;
      const __m512i x = _mm512_maskz_loadu_epi16(mask, rows[0] + at);
      const __m512i y = _mm512_maskz_loadu_epi16(mask, rows[1] + at);
      _mm512_store_si512(target + 2 * half, _mm512_permutex2var_epi16(x, low, y));
      _mm512_store_si512(target + 2 * half + 1, _mm512_permutex2var_epi16(x, high, y));
    }
  }

  template <int kQueries>
  HADAL_APART static void run(const SpanTile& tile, int first, const __m512i* values,
                              int64_t column, int64_t stride) {
    run_floats<Dot, kQueries>(tile, first, values, (tile.tokens + 1) / 2, column, stride);
  }
};

inline void score(const PartForm& keys, const SpanTile* tiles, int count,
                  const std::byte* const* rows, int64_t stride, int tokens, Ahead& ahead) {
  score_tiles<Form>(keys, tiles, count, rows, stride, tokens, ahead);
}
inline void accumulate(int64_t width, const SpanTile* tiles, int count,
                       const std::byte* const* rows, int tokens, Ahead& ahead) {
  accumulate_tiles<Form>(width, tiles, count, rows, tokens, ahead);
}

HADAL_INLINE __m512i rounded(__m512 x) {
  return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
}

template <bool kAll>
HADAL_INLINE void soften_as(SpanTile& tile) {
  const __m512 visible = load_floats(tile.visible);
  const __m512 before = load_floats(tile.state->greatest);
  const __m512 greatest = greatest_score<kAll>(tile, visible, before);
  __m512 sum = _mm512_setzero_ps();
  for (int t = 0; t < tile.tokens; t += 2) {
    const __m512 first = weight_of<kAll>(tile, t, visible, greatest);
    const __m512 second = weight_of<kAll>(tile, t + 1, visible, greatest);
    sum = _mm512_add_ps(_mm512_add_ps(sum, first), second);
    // Two tokens a word, over the scores that were read already.
    _mm512_store_si512(tile.scores + t / 2 * 16,
                       _mm512_or_si512(rounded(first), _mm512_slli_epi32(rounded(second), 16)));
  }
  advance(tile, before, greatest, sum);
}

// With an odd number of tokens the last one's neighbour is not seen.
inline void soften(const PartForm&, SpanTile& tile, const std::byte* const*) {
  tile.tokens % 2 == 0 && all_see_all(tile) ? soften_as<true>(tile) : soften_as<false>(tile);
}

constexpr DirectKernels kBf16Kernels = {
    kSpan, &takes, &tile_bytes, &context_stride, &pack, &score, &soften, &accumulate, &finish_plain,
};

}  // namespace
}  // namespace hadal::kernels::cpu::avx512
HADAL_TARGET_END

namespace hadal::kernels::cpu::avx512 {
const DirectKernels& bf16_attention() { return kBf16Kernels; }
}  // namespace hadal::kernels::cpu::avx512
