// Attention over caches of f16 by float arithmetic. No processor here multiplies f16 by dot
// products, so keys become floats, sixteen at a time and once for all tiles, and then take the same
// way as those that do: no sum along a vector, and few lanes idle where a group has few heads.
#include <cstddef>
#include <cstdint>

#include "hadal/kernels/cpu/attention_direct.h"
#include "hadal/kernels/cpu/avx512_intrinsics.h"
#include "hadal/kernels/cpu/region.h"

HADAL_TARGET_BEGIN(HADAL_TARGET_AVX512)
namespace hadal::kernels::cpu::avx512 {
namespace {

#include "hadal/kernels/cpu/attention_direct-inl.h"

constexpr int kSpan = 64;
constexpr int64_t kStepFloats = kStep / static_cast<int64_t>(sizeof(float));
// A block of keys in floats is kept on the stack: 72 KB.
constexpr int64_t kWidthMax = 1152;

// Steps are whole, and none has elements of both head and tail.
inline bool takes(const PartForm& keys, const PartForm& values, int64_t head_width) {
  return values.dtype == DType::kF16 && keys.count <= kWidthMax && keys.count % kStepFloats == 0 &&
         head_width % kStepFloats == 0;
}
inline int64_t tile_bytes(const PartForm& keys) { return keys.count / kStepFloats * kStepBytes; }

inline void pack(const PartForm& keys, float scale, const float* const* heads, int64_t head_width,
                 const float* const* tails, std::byte* tile) {
  __builtin_memset(tile, 0, static_cast<size_t>(tile_bytes(keys)));
  const __m128 factor = _mm_set1_ps(scale);
  for (int lane = 0; lane < kTileLanes; ++lane) {
    if (heads[lane] == nullptr) continue;
    for (int64_t i = 0; i < keys.count; i += kStepFloats) {
      const float* x = i < head_width ? heads[lane] + i : tails[lane] + (i - head_width);
      auto* target = reinterpret_cast<float*>(query_at(tile, i * 4, lane));
      _mm_store_ps(target, _mm_mul_ps(_mm_loadu_ps(x), factor));
    }
  }
}

// Sixteen elements, those from `left` on zero.
HADAL_INLINE __m512 floats_at(const std::byte* source, int64_t left) {
  if (left >= 16)
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(source)));
  const auto mask = static_cast<__mmask16>(left > 0 ? (1 << left) - 1 : 0);
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, source));
}

struct Form {
  struct Dot {
    HADAL_INLINE static void add(__m512& sum, __m512i a, __m512i b) {
      asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    }
  };
  static constexpr int kSpan = avx512::kSpan;
  static constexpr int kWordTokens = 1;

  // `key` is in floats here.
  template <int kUsed>
  HADAL_INLINE static void score_block(const PartForm& keys, const std::byte* queries,
                                       const std::byte* key, int64_t stride, float* scores) {
    __m512 sums[kTogether][kFours];
    add_steps<Dot, kUsed>(sums, queries, keys.count / kStepFloats, key, stride);
#pragma GCC unroll 4
    for (int t = 0; t < kTogether; ++t) {
      _mm512_store_ps(scores + t * 16, in_order(add_across(sums[t])));
    }
  }

  HADAL_INLINE static void interleave(const std::byte* const* rows, int64_t column, int64_t left,
                                      __m512i* target) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      _mm512_store_ps(target + v, floats_at(rows[0] + (column + 16 * v) * 2, left - 16 * v));
    }
  }

  template <int kQueries>
  HADAL_APART static void run(const SpanTile& tile, int first, const __m512i* values,
                              int64_t column, int64_t stride) {
    run_floats<Dot, kQueries>(tile, first, values, tile.tokens, column, stride);
  }
};

inline void score(const PartForm& keys, const SpanTile* tiles, int count,
                  const std::byte* const* rows, int64_t stride, int tokens, Ahead& ahead) {
  alignas(64) float floats[kDirectBlock * kWidthMax];
  const int64_t width = (keys.count + 15) / 16 * 16;
  spread_scores(count, tokens, ahead);
  for (int block = 0; block < tokens; block += kDirectBlock) {
    for (int t = 0; t < kDirectBlock; ++t) {
      for (int64_t i = 0; i < keys.count; i += 16) {
        _mm512_store_ps(floats + t * width + i,
                        floats_at(rows[block] + t * stride + i * 2, keys.count - i));
      }
    }
    score_one_block<Form>(keys, tiles, count, reinterpret_cast<const std::byte*>(floats),
                          width * static_cast<int64_t>(sizeof(float)), block, ahead);
  }
}
inline void accumulate(int64_t width, const SpanTile* tiles, int count,
                       const std::byte* const* rows, int tokens, Ahead& ahead) {
  accumulate_tiles<Form>(width, tiles, count, rows, tokens, ahead);
}

template <bool kAll>
HADAL_INLINE void soften_as(SpanTile& tile) {
  const __m512 visible = load_floats(tile.visible);
  const __m512 before = load_floats(tile.state->greatest);
  const __m512 greatest = greatest_score<kAll>(tile, visible, before);
  __m512 sum = _mm512_setzero_ps();
  for (int t = 0; t < tile.tokens; ++t) {
    const __m512 weight = weight_of<kAll>(tile, t, visible, greatest);
    sum = _mm512_add_ps(sum, weight);
    _mm512_store_ps(tile.scores + t * 16, weight);
  }
  advance(tile, before, greatest, sum);
}

inline void soften(const PartForm&, SpanTile& tile, const std::byte* const*) {
  all_see_all(tile) ? soften_as<true>(tile) : soften_as<false>(tile);
}

constexpr DirectKernels kF16Kernels = {
    kSpan, &takes, &tile_bytes, &context_stride, &pack, &score, &soften, &accumulate, &finish_plain,
};

}  // namespace
}  // namespace hadal::kernels::cpu::avx512
HADAL_TARGET_END

namespace hadal::kernels::cpu::avx512 {
const DirectKernels& f16_attention() { return kF16Kernels; }
}  // namespace hadal::kernels::cpu::avx512
