// Attention over caches of int8 by VNNI's dot products.
//
// Cached codes are unsigned (code + 128) and stand to the left in vpdpbusd as keys, where queries
// are signed: sum k q = sum (k + 128) q - 128 sum q. As values they are made signed by a flip of
// their highest bit, and weights are the unsigned operand.
#include <cstddef>
#include <cstdint>

#include "hadal/kernels/cpu/attention_direct.h"
#include "hadal/kernels/cpu/avx512_intrinsics.h"
#include "hadal/kernels/cpu/region.h"

HADAL_TARGET_BEGIN(HADAL_TARGET_AVX512)
namespace hadal::kernels::cpu::avx512 {
namespace {

#include "hadal/kernels/cpu/attention_codes_avx512-inl.h"
#include "hadal/kernels/cpu/attention_direct-inl.h"

// 128 products of a weight's 8 bits and a code's 7 are far from 2^31, and so are 65536.
constexpr int kSpan = 128;

// A key's bytes meet queries eight at a time, so that one load of eight bytes serves two products:
// with four bytes of all 16 a load serves one, with 16 of four queries sums have more parts to be
// added up. Up to four queries are packed as for the other types; sums are exact either way.
constexpr int kEights = 2;     // of queries in a tile
constexpr int kTogether8 = 8;  // keys that are scored together
constexpr int kStep8 = 8;      // bytes of a key
constexpr int64_t kStep8Bytes = kEights * 64;

HADAL_INLINE std::byte* query8_at(std::byte* steps, int64_t byte, int lane) {
  return steps + byte / kStep8 * kStep8Bytes + lane / 8 * 64 + lane % 8 * kStep8;
}
// Sums come out as query 8 e + 2 i + j in lane 4 i + 2 e + j.
HADAL_INLINE int sum8_at(int lane) { return lane % 8 / 2 * 4 + lane / 8 * 2 + lane % 2; }
HADAL_INLINE __m512 in_order8(__m512 sums) {
  const __m512i order = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
  return _mm512_castpd_ps(_mm512_permutexvar_pd(order, _mm512_castps_pd(sums)));
}

// Packed queries: coarse steps, fine steps, then the lines below in the order of sums.
struct TileEnd {
  int32_t begin[16];     // -128 * the sum of codes
  float scale[16];       // of a unit of the coarse sum
  float fine_scale[16];  // and of the fine one
};

HADAL_INLINE int64_t coarse_steps(const PartForm& form) { return form.coarse() / kStep; }
HADAL_INLINE int64_t fine_steps(const PartForm& form) { return form.fine * 2 / kStep; }
HADAL_INLINE int64_t all_steps_bytes(const PartForm& form) {
  return (coarse_steps(form) + fine_steps(form)) * kStepBytes;
}

inline bool takes(const PartForm& keys, const PartForm& values, int64_t) {
  return values.dtype == DType::kI8 && keys.fine <= kFineMax && keys.coarse() % kStep == 0 &&
         keys.fine * 2 % kStep == 0;
}
inline int64_t tile_bytes(const PartForm& keys) {
  return all_steps_bytes(keys) + static_cast<int64_t>(sizeof(TileEnd));
}

HADAL_INLINE __m512i codes_at(const float* x, float factor) {
  return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(factor)));
}

// Fine elements come in eights.
HADAL_INLINE __m256i fine_codes_at(const float* x, float factor) {
  return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), _mm256_set1_ps(factor)));
}

// 16 bytes of a query, from byte `at` on.
HADAL_INLINE void put(bool few, std::byte* steps, int64_t at, int lane, __m128i bytes) {
  if (few) {
    _mm_store_si128(reinterpret_cast<__m128i*>(query_at(steps, at, lane)), bytes);
    return;
  }
  _mm_storel_epi64(reinterpret_cast<__m128i*>(query8_at(steps, at, lane)), bytes);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(query8_at(steps, at + 8, lane)),
                   _mm_unpackhi_epi64(bytes, bytes));
}

// With fine elements the head is the coarse part and the tail the fine one; else there is no tail.
inline void pack(const PartForm& keys, float scale, const float* const* heads, int64_t head_width,
                 const float* const* tails, std::byte* tile) {
  std::byte* fine_steps_begin = tile + coarse_steps(keys) * kStepBytes;
  auto* end = reinterpret_cast<TileEnd*>(tile + all_steps_bytes(keys));
  __builtin_memset(tile, 0, static_cast<size_t>(tile_bytes(keys)));
  bool few = true;
  for (int lane = 4; lane < kTileLanes; ++lane) few &= heads[lane] == nullptr;
  for (int lane = 0; lane < kTileLanes; ++lane) {
    if (heads[lane] == nullptr) continue;
    const int at = few ? sum_at(lane) : sum8_at(lane);
    const Unit unit = unit_of(heads[lane], head_width, 127.0f);
    __m512i sum = _mm512_setzero_si512();
    for (int64_t i = 0; i < head_width; i += kStep) {
      const __m512i codes = codes_at(heads[lane] + i, unit.factor);
      sum = _mm512_add_epi32(sum, codes);
      put(few, tile, i, lane, _mm512_cvtepi32_epi8(codes));
    }
    end->begin[at] = -128 * _mm512_reduce_add_epi32(sum);
    end->scale[at] = scale * unit.value;
    if (keys.fine == 0) continue;
    const Unit fine_unit = unit_of(tails[lane], keys.fine, kFineQuery);
    for (int64_t i = 0; i < keys.fine; i += kStep / 2) {
      const __m256i codes = fine_codes_at(tails[lane] + i, fine_unit.factor);
      put(few, fine_steps_begin, i * 2, lane, _mm256_cvtepi32_epi16(codes));
    }
    end->fine_scale[at] = scale * fine_unit.value;
  }
}

// sums[t][e] = products of `steps` steps of 16 bytes of eight keys that lie `stride` apart.
template <class Dot, int kUsed>
HADAL_INLINE void add_steps8(__m512i (*sums)[kEights], const std::byte* queries, int64_t steps,
                             const std::byte* key, int64_t stride) {
#pragma GCC unroll 8
  for (int t = 0; t < kTogether8; ++t) {
#pragma GCC unroll 2
    for (int e = 0; e < kEights; ++e) clear(sums[t][e]);
  }
  const std::byte* half = key + 4 * stride;
  for (; steps > 0; --steps) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i, queries += kStep8Bytes, key += kStep8, half += kStep8) {
      __m512i query[kUsed];
#pragma GCC unroll 2
      for (int e = 0; e < kUsed; ++e) query[e] = _mm512_load_si512(queries + e * 64);
#pragma GCC unroll 8
      for (int t = 0; t < kTogether8; ++t) {
        const std::byte* at = t < 4 ? key + t * stride : half + (t - 4) * stride;
        const __m512i part =
            _mm512_broadcastq_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)));
#pragma GCC unroll 2
        for (int e = 0; e < kUsed; ++e) Dot::add(sums[t][e], part, query[e]);
      }
    }
  }
}
HADAL_INLINE __m512i add_across8(const __m512i* sums) {
  const __m512 a = _mm512_castsi512_ps(sums[0]);
  const __m512 b = _mm512_castsi512_ps(sums[1]);
  return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88)),
                          _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd)));
}

// What one part of the key gave: unit: where the part's scale is.
HADAL_INLINE __m512 scaled(__m512i sum, const float* scale, const std::byte* unit) {
  return _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), load_floats(scale)),
                       _mm512_castsi512_ps(_mm512_set1_epi32(word_at(unit))));
}

// Eight keys meet kUsed eights of queries.
template <int kUsed>
struct ByEights {
  static constexpr int kKeys = kTogether8;
  static constexpr int kSums = kEights;
  template <class Dot>
  HADAL_INLINE static void add(__m512i (*sums)[kSums], const std::byte* queries, int64_t steps,
                               const std::byte* key, int64_t stride) {
    add_steps8<Dot, kUsed>(sums, queries, steps, key, stride);
  }
  HADAL_INLINE static __m512i across(const __m512i* sums) { return add_across8(sums); }
  HADAL_INLINE static __m512 ordered(__m512 sums) { return in_order8(sums); }
};
// Four keys meet up to four queries.
struct ByFour {
  static constexpr int kKeys = kTogether;
  static constexpr int kSums = kFours;
  template <class Dot>
  HADAL_INLINE static void add(__m512i (*sums)[kSums], const std::byte* queries, int64_t steps,
                               const std::byte* key, int64_t stride) {
    add_steps<Dot, 1>(sums, queries, steps, key, stride);
  }
  HADAL_INLINE static __m512i across(const __m512i* sums) { return add_across(sums); }
  HADAL_INLINE static __m512 ordered(__m512 sums) { return in_order(sums); }
};

template <class By>
HADAL_APART void score_together(const PartForm& keys, const std::byte* queries,
                                const std::byte* key, int64_t stride, float* scores) {
  const auto* end = reinterpret_cast<const TileEnd*>(queries + all_steps_bytes(keys));
  __m512i sums[By::kKeys][By::kSums];
  By::template add<BytesDot>(sums, queries, coarse_steps(keys), key, stride);
  __m512 result[By::kKeys];
#pragma GCC unroll 8
  for (int t = 0; t < By::kKeys; ++t) {
    const __m512i sum = _mm512_add_epi32(By::across(sums[t]), _mm512_load_si512(end->begin));
    result[t] = scaled(sum, end->scale, key + t * stride + keys.scale_at());
  }
  if (keys.fine > 0) {
    By::template add<HalvesDot>(sums, queries + coarse_steps(keys) * kStepBytes, fine_steps(keys),
                                key + keys.fine_at(), stride);
#pragma GCC unroll 8
    for (int t = 0; t < By::kKeys; ++t) {
      const std::byte* unit = key + t * stride + keys.scale_at() + 4;
      result[t] = _mm512_add_ps(result[t], scaled(By::across(sums[t]), end->fine_scale, unit));
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < By::kKeys; ++t) {
    _mm512_store_ps(scores + t * 16, By::ordered(result[t]));
  }
}

// call_step() for long steps: four lines to a round.
HADAL_APART void call_long_step(Ahead& ahead) {
  int64_t lines = ahead.each;
  while (lines > 0 && ahead.run < ahead.count) {
    Ahead::Run& run = ahead.runs[ahead.run];
    const auto* at = reinterpret_cast<const char*>(run.begin);
    int64_t some = std::min(lines, (run.end - run.begin + 63) / 64);
    lines -= some;
    run.begin += some * 64;
    if (run.begin >= run.end) ++ahead.run;
    for (; some >= 4; some -= 4, at += 4 * 64) {
      _mm_prefetch(at, _MM_HINT_T1);
      _mm_prefetch(at + 64, _MM_HINT_T1);
      _mm_prefetch(at + 128, _MM_HINT_T1);
      _mm_prefetch(at + 192, _MM_HINT_T1);
    }
    for (; some > 0; --some, at += 64) _mm_prefetch(at, _MM_HINT_T1);
  }
  ahead.left -= ahead.each;
}

HADAL_INLINE void score_block(const PartForm& keys, const SpanTile& tile, const std::byte* first,
                              int64_t stride, int block, Ahead& ahead) {
  const int together = tile.lanes <= 4 ? kTogether : kTogether8;
  for (int t = 0; t < kDirectBlock; t += together) {
    const std::byte* key = first + t * stride;
    float* scores = tile.scores + (block + t) * 16;
    if (tile.lanes <= 4) {
      call_step(ahead);
      score_together<ByFour>(keys, tile.queries, key, stride, scores);
    } else if (tile.lanes <= 8) {
      call_step(ahead);
      call_step(ahead);
      score_together<ByEights<1>>(keys, tile.queries, key, stride, scores);
    } else {
      call_long_step(ahead);
      call_long_step(ahead);
      score_together<ByEights<2>>(keys, tile.queries, key, stride, scores);
    }
  }
}

// Words of the next columns that are still to be interleaved.
struct NextColumns {
  const std::byte* const* rows;
  __m512i* target;
  int words;
};

struct Form {
  using Dot = BytesDot;
  static constexpr int kSpan = avx512::kSpan;
  static constexpr int kWordTokens = 4;

  // Vector k holds columns 4 k to 4 k + 3 of each sixteen.
  HADAL_INLINE static void interleave(const std::byte* const* rows, int64_t column, __mmask64 mask,
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

  template <int kQueries>
  HADAL_INLINE static void add_to_context(const SpanTile& tile, int first, const __m512i (*sums)[4],
                                          int64_t column, int64_t stride) {
#pragma GCC unroll 4
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

  // kWords: after so many words of products one word of the next columns is interleaved; 0: none.
  template <int kQueries, int kWords>
  HADAL_APART static void run(const SpanTile& tile, int first, const __m512i* values,
                              int64_t column, int64_t stride, NextColumns& next) {
    __m512i sums[kQueries][4];
#pragma GCC unroll 4
    for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) clear(sums[q][v]);
    }
    const float* weights = tile.scores + first;
    int words = (tile.tokens + 3) / 4;
    if (kWords > 0) {
      const int rounds = std::min(words / std::max(kWords, 1), next.words);
      const std::byte* const* rows = next.rows;
      __m512i* target = next.target;
      for (int i = 0; i < rounds; ++i, rows += 4, target += 4) {
        interleave(rows, column + kColumns, ~__mmask64{0}, target);
#pragma GCC unroll 4
        for (int w = 0; w < kWords; ++w) {
          add_words<Dot, kQueries>(sums, weights + 16 * w, values + 4 * w, 1);
        }
        weights += 16 * kWords;
        values += 4 * kWords;
      }
      next = {rows, target, next.words - rounds};
      words -= rounds * kWords;
    }
    add_words<Dot, kQueries>(sums, weights, values, words);
    add_to_context<kQueries>(tile, first, sums, column, stride);
  }
};

inline void score(const PartForm& keys, const SpanTile* tiles, int count,
                  const std::byte* const* rows, int64_t stride, int tokens, Ahead& ahead) {
  spread_scores(count, tokens, ahead);
  for (int block = 0; block < tokens; block += kDirectBlock) {
    for (int i = 0; i < count; ++i) {
      score_block(keys, tiles[i], rows[block], stride, block, ahead);
    }
  }
}

// The queries of a tile, as many at once as registers allow.
HADAL_INLINE void run_queries(const SpanTile& tile, const __m512i* values, int64_t column,
                              int64_t stride, bool few, NextColumns& next, Ahead& ahead) {
  if (tile.tokens == 0) return;
  int q = 0;
  for (; q + 4 <= tile.lanes; q += 4) {
    if (few) {
      call_step(ahead);
      Form::run<4, 0>(tile, q, values, column, stride, next);
    } else {
      call_long_step(ahead);
      Form::run<4, 4>(tile, q, values, column, stride, next);
    }
  }
  if (q < tile.lanes) call_step(ahead);
  if (q + 2 <= tile.lanes) {
    Form::run<2, 0>(tile, q, values, column, stride, next);
    q += 2;
  }
  if (q < tile.lanes) Form::run<1, 0>(tile, q, values, column, stride, next);
}

// While products of some columns take two of the processor's four pipes, the next columns are
// interleaved on the others.
inline void accumulate(int64_t width, const SpanTile* tiles, int count,
                       const std::byte* const* rows, int tokens, Ahead& ahead) {
  const int64_t stride = context_stride(width);
  const int words = (tokens + 3) / 4;
  int64_t runs = 0;
  for (int i = 0; i < count; ++i) runs += (tiles[i].lanes + 3) / 4;
  ahead.spread(stride / kColumns * runs);
  alignas(64) __m512i values[2][kSpan];
  NextColumns next{rows, values[0], words};
  for (int64_t column = 0; column < width; column += kColumns) {
    __m512i* const now = values[column / kColumns % 2];
    const int64_t left = width - column;
    const __mmask64 mask = left >= kColumns ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
    for (; next.words > 0; --next.words, next.rows += 4, next.target += 4) {
      Form::interleave(next.rows, column, mask, next.target);
    }
    next = {rows, values[column / kColumns % 2 == 0], left >= 2 * kColumns ? words : 0};
    for (int i = 0; i < count; ++i) {
      run_queries(tiles[i], now, column, stride, runs < 4, next, ahead);
    }
    if (left > kColumns && left < 2 * kColumns) next.words = words;
  }
}

template <bool kAll>
HADAL_INLINE void soften_as(const PartForm& values, SpanTile& tile, const std::byte* const* rows) {
  const __m512 visible = load_floats(tile.visible);
  const __m512 before = load_floats(tile.state->greatest);
  const __m512 greatest = greatest_score<kAll>(tile, visible, before);
  const int64_t scale_at = values.scale_at();
  __m512 sum = _mm512_setzero_ps();
  __m512 most = _mm512_setzero_ps();
  __m512 all = _mm512_setzero_ps();
  for (int t = 0; t < tile.tokens; ++t) {
    const __m512 weight = weight_of<kAll>(tile, t, visible, greatest);
    sum = _mm512_add_ps(sum, weight);
    const __m512 unit = _mm512_castsi512_ps(_mm512_set1_epi32(word_at(rows[t] + scale_at)));
    const __m512 scaled = _mm512_maskz_mul_ps(seen_by<kAll>(t, visible), weight, unit);
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
  const auto code = [&](int t) {
    return _mm512_cvtps_epi32(_mm512_mul_ps(load_floats(tile.scores + t * 16), inverse));
  };
  int t = 0;
  for (; t + 4 <= tile.tokens; t += 4) {
    const __m512i low = _mm512_or_si512(code(t), _mm512_slli_epi32(code(t + 1), 8));
    const __m512i high = _mm512_or_si512(code(t + 2), _mm512_slli_epi32(code(t + 3), 8));
    _mm512_store_si512(tile.scores + t / 4 * 16, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }
  if (t == tile.tokens) return;
  __m512i word = _mm512_setzero_si512();
  for (int i = 0; t + i < tile.tokens; ++i) {
    word = _mm512_or_si512(word, _mm512_sllv_epi32(code(t + i), _mm512_set1_epi32(8 * i)));
  }
  _mm512_store_si512(tile.scores + t / 4 * 16, word);
}

inline void soften(const PartForm& values, SpanTile& tile, const std::byte* const* rows) {
  all_see_all(tile) ? soften_as<true>(values, tile, rows) : soften_as<false>(values, tile, rows);
}

// Back from the order of interleave(): columns come in fours.
inline void finish(float sum, const float* context, int64_t width, float* row) {
  const float factor = 1.0f / sum;
  for (int64_t c = 0; c < width; c += 4) {
    const float* source = context + c / 64 * 64 + c % 16 / 4 * 16 + c % 64 / 16 * 4;
    for (int64_t i = 0; i < 4 && c + i < width; ++i) row[c + i] = source[i] * factor;
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
