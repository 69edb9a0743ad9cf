// Attention over caches of int8 by VNNI's dot products.
//
// Cached codes are unsigned (code + 128) and stand to the left in vpdpbusd as keys, where queries
// are signed: sum k q = sum (k + 128) q - 128 sum q. As values they are made signed by a flip of
// their highest bit, and weights are the unsigned operand.
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

HADAL_TARGET_BEGIN(HADAL_TARGET_AVX512)
namespace hadal::kernels::cpu::avx512 {
namespace {

#include "hadal/kernels/cpu/attention_direct-inl.h"

// 128 products of a weight's 8 bits and a code's 7 are far from 2^31, and so are 65536 (a query's
// fine codes have 11 bits and a sign, a key's 13 and a sign: 64 of their products stay below 2^30).
constexpr int kSpan = 128;
constexpr int kFineMax = 64;
constexpr float kFineQuery = 2047.0f;

// [coarse / 4][16] words of four codes, [fine / 2][16] words of two, then the three lines below.
struct TileEnd {
  int32_t begin[16];     // -128 * the sum of codes
  float scale[16];       // of a unit of the coarse sum
  float fine_scale[16];  // and of the fine one
};

HADAL_INLINE int64_t coarse_words(const PartForm& form) { return (form.coarse() + 3) / 4; }
HADAL_INLINE int64_t fine_words(const PartForm& form) { return (form.fine + 1) / 2; }

inline bool takes(const PartForm& keys, const PartForm& values, int64_t) {
  return values.dtype == DType::kI8 && keys.fine <= kFineMax;
}
inline int64_t tile_bytes(const PartForm& keys) {
  return (coarse_words(keys) + fine_words(keys)) * 64 + static_cast<int64_t>(sizeof(TileEnd));
}

// The greatest magnitude of x[0, count), not finite where numbers broke.
inline float greatest_of(const float* x, int64_t count) {
  // As integers the bits of a NaN are greater than those of all numbers.
  __m512i greatest = _mm512_setzero_si512();
  for (int64_t i = 0; i < count; i += 16) {
    const auto mask = static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1 << (count - i)) - 1);
    const __m512i bits = _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, x + i));
    greatest = _mm512_max_epi32(greatest, _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)));
  }
  const int32_t bits = _mm512_reduce_max_epi32(greatest);
  float result;
  __builtin_memcpy(&result, &bits, sizeof(result));
  return result;
}

// What becomes of x[0, count): code = x * factor, and what a unit is worth.
struct Unit {
  float value, factor;
};
HADAL_INLINE Unit unit_of(const float* x, int64_t count, float limit) {
  const float greatest = greatest_of(x, count);
  if (!(greatest < __builtin_huge_valf())) return {__builtin_nanf(""), 0.0f};
  if (greatest < kLeastMagnitude) return {0.0f, 0.0f};
  return {greatest / limit, limit / greatest};
}

// Codes of x[i, i + 16) where there are so many.
HADAL_INLINE __m512i codes_at(const float* x, int64_t i, int64_t count, float factor) {
  const int64_t left = count - i;
  const auto mask = static_cast<__mmask16>(left >= 16 ? 0xffff : (1 << left) - 1);
  return _mm512_cvtps_epi32(
      _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_set1_ps(factor)));
}

// With fine elements the head is the coarse part and the tail the fine one; else there is no tail.
inline void pack(const PartForm& keys, float scale, const float* const* heads, int64_t head_width,
                 const float* const* tails, std::byte* tile) {
  const int64_t words = coarse_words(keys);
  const int64_t fine = fine_words(keys);
  auto* end = reinterpret_cast<TileEnd*>(tile + (words + fine) * 64);
  __builtin_memset(tile, 0, static_cast<size_t>(tile_bytes(keys)));
  for (int lane = 0; lane < kTileLanes; ++lane) {
    if (heads[lane] == nullptr) continue;
    const Unit unit = unit_of(heads[lane], head_width, 127.0f);
    __m512i sum = _mm512_setzero_si512();
    alignas(64) int32_t four[16];
    for (int64_t i = 0; i < head_width; i += 16) {
      const __m512i codes = codes_at(heads[lane], i, head_width, unit.factor);
      sum = _mm512_add_epi32(sum, codes);
      _mm_store_si128(reinterpret_cast<__m128i*>(four), _mm512_cvtepi32_epi8(codes));
      for (int64_t w = i / 4; w < words && w < i / 4 + 4; ++w) {
        __builtin_memcpy(tile + w * 64 + lane * 4, four + (w - i / 4), 4);
      }
    }
    end->begin[lane] = -128 * _mm512_reduce_add_epi32(sum);
    end->scale[lane] = scale * unit.value;
    if (fine == 0) continue;
    const Unit fine_unit = unit_of(tails[lane], keys.fine, kFineQuery);
    for (int64_t i = 0; i < keys.fine; i += 16) {
      const __m512i codes = codes_at(tails[lane], i, keys.fine, fine_unit.factor);
      _mm256_store_si256(reinterpret_cast<__m256i*>(four), _mm512_cvtepi32_epi16(codes));
      for (int64_t w = i / 2; w < fine && w < i / 2 + 8; ++w) {
        __builtin_memcpy(tile + (words + w) * 64 + lane * 4, four + (w - i / 2), 4);
      }
    }
    end->fine_scale[lane] = scale * fine_unit.value;
  }
}

template <int kTokens, int kTiles>
HADAL_INLINE void score_block(const PartForm& keys, const SpanTile* tiles, const std::byte* block,
                              int64_t stride, int first) {
  const int64_t words = coarse_words(keys);
  const int64_t fine = fine_words(keys);
  // One register for every four rows, so that they all fit.
  const std::byte* row[kTokens / 4];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; t += 4) row[t / 4] = block + t * stride;
  __m512i sums[kTokens][kTiles];
#pragma GCC unroll 4
  for (int i = 0; i < kTiles; ++i) {
    const auto* end = reinterpret_cast<const TileEnd*>(tiles[i].queries + (words + fine) * 64);
    const __m512i begin = _mm512_load_si512(end->begin);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) sums[t][i] = begin;
  }
  for (int64_t w = 0; w < words; ++w) {
    __m512i query[kTiles];
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) query[i] = _mm512_load_si512(tiles[i].queries + w * 64);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const __m512i key = _mm512_set1_epi32(word_at(row[t / 4] + t % 4 * stride + w * 4));
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) add_dot_u8_i8(sums[t][i], key, query[i]);
    }
  }
  // Kept as floats while the fine part is summed in the same registers.
  const int64_t scale_at = keys.scale_at();
#pragma GCC unroll 4
  for (int i = 0; i < kTiles; ++i) {
    const auto* end = reinterpret_cast<const TileEnd*>(tiles[i].queries + (words + fine) * 64);
    const __m512 scale = load_floats(end->scale);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const __m512 unit =
          _mm512_castsi512_ps(_mm512_set1_epi32(word_at(row[t / 4] + t % 4 * stride + scale_at)));
      const __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[t][i]), scale);
      _mm512_store_ps(tiles[i].scores + (first + t) * 16, _mm512_mul_ps(sum, unit));
    }
  }
  if (fine == 0) return;
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) sums[t][i] = _mm512_setzero_si512();
  }
  const int64_t fine_at = keys.fine_at();
  for (int64_t w = 0; w < fine; ++w) {
    __m512i query[kTiles];
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) {
      query[i] = _mm512_load_si512(tiles[i].queries + (words + w) * 64);
    }
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const __m512i key = _mm512_set1_epi32(word_at(row[t / 4] + t % 4 * stride + fine_at + w * 4));
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) add_dot_i16(sums[t][i], query[i], key);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kTiles; ++i) {
    const auto* end = reinterpret_cast<const TileEnd*>(tiles[i].queries + (words + fine) * 64);
    const __m512 scale = load_floats(end->fine_scale);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const __m512 unit = _mm512_castsi512_ps(
          _mm512_set1_epi32(word_at(row[t / 4] + t % 4 * stride + scale_at + 4)));
      const __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[t][i]), scale);
      float* score = tiles[i].scores + (first + t) * 16;
      _mm512_store_ps(score, _mm512_fmadd_ps(sum, unit, load_floats(score)));
    }
  }
}

inline void score(const PartForm& keys, const SpanTile* tiles, int count,
                  const std::byte* const* rows, int64_t stride, int tokens, Ahead& ahead) {
  ahead.spread((tokens + kDirectBlock - 1) / kDirectBlock);
  for (int t = 0; t < tokens; t += kDirectBlock) {
    call_step(ahead);
    int tile = 0;
    for (; tile + 2 <= count; tile += 2) {
      score_block<8, 2>(keys, tiles + tile, rows[t], stride, t);
      score_block<8, 2>(keys, tiles + tile, rows[t] + 8 * stride, stride, t + 8);
    }
    if (tile < count) score_block<16, 1>(keys, tiles + tile, rows[t], stride, t);
  }
}

inline void soften(const PartForm& values, SpanTile& tile, const std::byte* const* rows) {
  const __m512 visible = load_floats(tile.visible);
  const __m512 before = load_floats(tile.state->greatest);
  const __m512 greatest = greatest_score(tile, before);
  const int64_t scale_at = values.scale_at();
  __m512 sum = _mm512_setzero_ps();
  __m512 most = _mm512_setzero_ps();
  __m512 all = _mm512_setzero_ps();
  for (int t = 0; t < tile.tokens; ++t) {
    const __m512 weight = weight_of(tile, t, visible, greatest);
    sum = _mm512_add_ps(sum, weight);
    const __mmask16 seen =
        _mm512_cmp_ps_mask(_mm512_set1_ps(static_cast<float>(t)), visible, _CMP_LT_OQ);
    const __m512 unit = _mm512_castsi512_ps(_mm512_set1_epi32(word_at(rows[t] + scale_at)));
    const __m512 scaled = _mm512_maskz_mul_ps(seen, weight, unit);
    most = _mm512_max_ps(most, scaled);
    all = _mm512_add_ps(all, scaled);
    _mm512_store_ps(tile.scores + t * 16, scaled);
  }
  advance(tile, before, greatest, sum);
  // A value that is not a number makes the whole span so.
  most = _mm512_fmadd_ps(all, _mm512_setzero_ps(), most);
  _mm512_store_ps(tile.factor, _mm512_mul_ps(most, _mm512_set1_ps(1.0f / 255.0f)));
  const __mmask16 some = _mm512_cmp_ps_mask(most, _mm512_set1_ps(1e-30f), _CMP_GT_OQ);
  const __m512 inverse = _mm512_maskz_div_ps(some, _mm512_set1_ps(255.0f), most);
  // Four tokens a word, over the scores that were read already.
  for (int t = 0; t < tile.tokens; t += 4) {
    __m512i word = _mm512_setzero_si512();
    for (int i = 0; i < 4 && t + i < tile.tokens; ++i) {
      const __m512 scaled = load_floats(tile.scores + (t + i) * 16);
      const __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(scaled, inverse));
      word = _mm512_or_si512(word, _mm512_sllv_epi32(code, _mm512_set1_epi32(8 * i)));
    }
    _mm512_store_si512(tile.scores + t / 4 * 16, word);
  }
}

// Four rows' codes of 64 columns, one word of four tokens a column: vector k holds columns 4 k to
// 4 k + 3 of each sixteen.
HADAL_INLINE void interleave(const std::byte* const* rows, int64_t column, __mmask64 mask,
                             __m512i* target) {
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  __m512i row[4];
#pragma GCC unroll 4
  for (int t = 0; t < 4; ++t) {
    row[t] = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, rows[t] + column), flip);
  }
  const __m512i a = _mm512_unpacklo_epi8(row[0], row[1]);
  const __m512i b = _mm512_unpackhi_epi8(row[0], row[1]);
  const __m512i c = _mm512_unpacklo_epi8(row[2], row[3]);
  const __m512i d = _mm512_unpackhi_epi8(row[2], row[3]);
  _mm512_store_si512(target + 0, _mm512_unpacklo_epi16(a, c));
  _mm512_store_si512(target + 1, _mm512_unpackhi_epi16(a, c));
  _mm512_store_si512(target + 2, _mm512_unpacklo_epi16(b, d));
  _mm512_store_si512(target + 3, _mm512_unpackhi_epi16(b, d));
}

struct Block {
  template <int kQueries>
  HADAL_INLINE static void run(const SpanTile& tile, int first, const __m512i* values,
                               int64_t column, int64_t stride) {
    __m512i sums[kQueries][4];
#pragma GCC unroll 8
    for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sums[q][v] = _mm512_setzero_si512();
    }
    const float* weights = tile.scores + first;
    for (int t = 0; t < tile.tokens; t += 4, weights += 16, values += 4) {
#pragma GCC unroll 8
      for (int q = 0; q < kQueries; ++q) {
        int32_t word;
        __builtin_memcpy(&word, weights + q, sizeof(word));
        const __m512i weight = _mm512_set1_epi32(word);
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) add_dot_u8_i8(sums[q][v], weight, values[v]);
      }
    }
#pragma GCC unroll 8
    for (int q = 0; q < kQueries; ++q) {
      const __m512 shrink = _mm512_set1_ps(tile.shrink[first + q]);
      const __m512 factor = _mm512_set1_ps(tile.factor[first + q]);
      float* context = tile.context + (first + q) * stride + column;
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        const __m512 kept = _mm512_mul_ps(load_floats(context + 16 * v), shrink);
        _mm512_store_ps(context + 16 * v,
                        _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[q][v]), factor, kept));
      }
    }
  }
};

inline void accumulate(const PartForm&, int64_t width, const SpanTile* tiles, int count,
                       const std::byte* const* rows, int tokens, Ahead& ahead) {
  ahead.spread((width + kColumns - 1) / kColumns * accumulate_steps(tiles, count));
  const int64_t stride = context_stride(width);
  alignas(64) __m512i values[kSpan];
  for (int64_t column = 0; column < width; column += kColumns) {
    const int64_t left = width - column;
    const __mmask64 mask = left >= kColumns ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
    for (int t = 0; t < tokens; t += 4) interleave(rows + t, column, mask, values + t);
    accumulate_tiles<Block>(tiles, count, values, column, stride, ahead);
  }
}

inline void finish(const TileState& state, const float* context, int lanes, int64_t width,
                   float* const* rows) {
  const int64_t stride = context_stride(width);
  for (int lane = 0; lane < lanes; ++lane) {
    const float factor = 1.0f / state.sum[lane];
    const float* source = context + lane * stride;
    for (int64_t c = 0; c < width; ++c) {
      // Back from the order of interleave().
      const int64_t at = c / 64 * 64 + c % 16 / 4 * 16 + c % 64 / 16 * 4 + c % 4;
      rows[lane][c] = source[at] * factor;
    }
  }
}

constexpr DirectKernels kInt8Kernels = {
    kSpan, &takes, &tile_bytes, &context_stride, &pack, &score, &soften, &accumulate, &finish,
};

}  // namespace
}  // namespace hadal::kernels::cpu::avx512
HADAL_TARGET_END

namespace hadal::kernels::cpu::avx512 {
const DirectKernels& int8_attention() { return kInt8Kernels; }
}  // namespace hadal::kernels::cpu::avx512
