// Attention over caches of bf16 by AVX-512-BF16's dot products.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "hadal/kernels/cpu/attention_direct.h"
#include "hadal/kernels/cpu/kernels.h"
#include "hadal/kernels/cpu/region.h"

#define HADAL_INLINE inline __attribute__((always_inline))

#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 warns inside its own intrinsics, which start from an undefined register on purpose.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

HADAL_TARGET_BEGIN(HADAL_TARGET_AVX512 ",avx512bf16")
namespace hadal::kernels::cpu::avx512 {
namespace {

#include "hadal/kernels/cpu/attention_direct-inl.h"

constexpr int kSpan = 64;

// An odd part's last pair would reach into the next.
inline bool takes(const PartForm& keys, const PartForm& values, int64_t head_width) {
  return values.dtype == DType::kBF16 && keys.count % 2 == 0 && head_width % 2 == 0;
}
inline int64_t tile_bytes(const PartForm& keys) { return keys.count / 2 * 64; }

HADAL_INLINE void pack_columns(const float* x, int64_t count, float scale, int lane,
                               std::byte* target) {
  alignas(64) int32_t two[8];
  for (int64_t i = 0; i < count; i += 16) {
    const auto mask = static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1 << (count - i)) - 1);
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_set1_ps(scale));
    _mm256_store_si256(reinterpret_cast<__m256i*>(two),
                       reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(scaled)));
    for (int64_t w = i / 2; w < count / 2 && w < i / 2 + 8; ++w) {
      __builtin_memcpy(target + w * 64 + lane * 4, two + (w - i / 2), 4);
    }
  }
}

inline void pack(const PartForm& keys, float scale, const float* const* heads, int64_t head_width,
                 const float* const* tails, std::byte* tile) {
  __builtin_memset(tile, 0, static_cast<size_t>(tile_bytes(keys)));
  for (int lane = 0; lane < kTileLanes; ++lane) {
    if (heads[lane] == nullptr) continue;
    pack_columns(heads[lane], head_width, scale, lane, tile);
    pack_columns(tails[lane], keys.count - head_width, scale, lane, tile + head_width / 2 * 64);
  }
}

template <int kTokens, int kTiles>
HADAL_INLINE void score_block(int64_t words, const SpanTile* tiles, const std::byte* block,
                              int64_t stride, int first) {
  // One register for every four rows, so that they all fit.
  const std::byte* row[kTokens / 4];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; t += 4) row[t / 4] = block + t * stride;
  __m512 sums[kTokens][kTiles];
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) sums[t][i] = _mm512_setzero_ps();
  }
  for (int64_t w = 0; w < words; ++w) {
    __m512i query[kTiles];
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) query[i] = _mm512_load_si512(tiles[i].queries + w * 64);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const __m512i key = _mm512_set1_epi32(word_at(row[t / 4] + t % 4 * stride + w * 4));
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) add_dot_bf16(sums[t][i], query[i], key);
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i)
      _mm512_store_ps(tiles[i].scores + (first + t) * 16, sums[t][i]);
  }
}

inline void score(const PartForm& keys, const SpanTile* tiles, int count,
                  const std::byte* const* rows, int64_t stride, int tokens, Ahead& ahead) {
  const int64_t words = keys.count / 2;
  ahead.spread((tokens + kDirectBlock - 1) / kDirectBlock);
  for (int t = 0; t < tokens; t += kDirectBlock) {
    call_step(ahead);
    int tile = 0;
    for (; tile + 2 <= count; tile += 2) {
      score_block<8, 2>(words, tiles + tile, rows[t], stride, t);
      score_block<8, 2>(words, tiles + tile, rows[t] + 8 * stride, stride, t + 8);
    }
    if (tile < count) score_block<16, 1>(words, tiles + tile, rows[t], stride, t);
  }
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

// Two rows' elements of 64 columns, a pair of tokens a column.
HADAL_INLINE void interleave(const std::byte* a, const std::byte* b, int64_t left,
                             __m512i* target) {
  const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,
                                       39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const int64_t count = left - 32 * half;
    const __mmask32 mask = count >= 32 ? ~__mmask32{0}
                           : count > 0 ? (__mmask32{1} << count) - 1
                                       : __mmask32{0};
    const __m512i x = _mm512_maskz_loadu_epi16(mask, a + 64 * half);
    const __m512i y = _mm512_maskz_loadu_epi16(mask, b + 64 * half);
    _mm512_store_si512(target + 2 * half, _mm512_permutex2var_epi16(x, low, y));
    _mm512_store_si512(target + 2 * half + 1, _mm512_permutex2var_epi16(x, high, y));
  }
}

struct Block {
  template <int kQueries>
  HADAL_APART static void run(const SpanTile& tile, int first, const __m512i* values,
                              int64_t column, int64_t stride) {
    __m512 sums[kQueries][4];
#pragma GCC unroll 8
    for (int q = 0; q < kQueries; ++q) {
      const __m512 shrink = _mm512_set1_ps(tile.shrink[first + q]);
      const float* context = tile.context + (first + q) * stride + column;
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sums[q][v] = _mm512_mul_ps(load_floats(context + 16 * v), shrink);
    }
    const float* weights = tile.scores + first;
    for (int t = 0; t < tile.tokens; t += 2, weights += 16, values += 4) {
#pragma GCC unroll 8
      for (int q = 0; q < kQueries; ++q) {
        int32_t word;
        __builtin_memcpy(&word, weights + q, sizeof(word));
        const __m512i weight = _mm512_set1_epi32(word);
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) {
          add_dot_bf16(sums[q][v], weight, values[v]);
        }
      }
    }
#pragma GCC unroll 8
    for (int q = 0; q < kQueries; ++q) {
      float* context = tile.context + (first + q) * stride + column;
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) _mm512_store_ps(context + 16 * v, sums[q][v]);
    }
  }
};

inline void accumulate(const PartForm&, int64_t width, const SpanTile* tiles, int count,
                       const std::byte* const* rows, int tokens, Ahead& ahead) {
  ahead.spread((width + kColumns - 1) / kColumns * accumulate_steps(tiles, count));
  const int64_t stride = context_stride(width);
  alignas(64) __m512i values[kSpan * 2];
  for (int64_t column = 0; column < width; column += kColumns) {
    for (int t = 0; t < tokens; t += 2) {
      interleave(rows[t] + column * 2, rows[t + 1] + column * 2, width - column, values + t * 2);
    }
    accumulate_tiles<Block>(tiles, count, values, column, stride, ahead);
  }
}

inline void finish(float sum, const float* context, int64_t width, float* row) {
  const float factor = 1.0f / sum;
  for (int64_t c = 0; c < width; ++c) row[c] = context[c] * factor;
}

constexpr DirectKernels kBf16Kernels = {
    kSpan, &takes, &tile_bytes, &context_stride, &pack, &score, &soften, &accumulate, &finish,
};

}  // namespace
}  // namespace hadal::kernels::cpu::avx512
HADAL_TARGET_END

namespace hadal::kernels::cpu::avx512 {
const DirectKernels& bf16_attention() { return kBf16Kernels; }
}  // namespace hadal::kernels::cpu::avx512
