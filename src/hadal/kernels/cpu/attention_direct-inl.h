// What the direct kernels share, in AVX-512.

// Inner loops that fill the registers are functions of their own: among others' variables g++ 12
// keeps pointers in vector registers, and accumulators in memory instead.
#define HADAL_APART __attribute__((noinline))

HADAL_INLINE __m512 load_floats(const float* p) { return _mm512_load_ps(p); }

// 2^x for x <= 0, 0 below -150, NaN for NaN: x = n + r, |r| <= 1/2, 2^r by its Taylor polynomial of
// degree 5 (remainder below 3e-6, far below a weight's own rounding).
HADAL_INLINE __m512 power_of_two(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-200.0f), x);  // the second operand where either is NaN
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 r = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(1.3333558e-3f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.6181291e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.5504109e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.4022651e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.9314718e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

constexpr float kLog2E = 1.44269504f;

// Which lanes see token t. kAll: every lane sees every token of the span.
template <bool kAll>
HADAL_INLINE __mmask16 seen_by(int t, __m512 visible) {
  if (kAll) return 0xffff;
  return _mm512_cmp_ps_mask(_mm512_set1_ps(static_cast<float>(t)), visible, _CMP_LT_OQ);
}

// The greatest score so far, of the tokens that a lane sees.
template <bool kAll>
HADAL_INLINE __m512 greatest_score(const SpanTile& tile, __m512 visible, __m512 before) {
  __m512 greatest = before;
  for (int t = 0; t < tile.tokens; ++t) {
    const __m512 score = load_floats(tile.scores + t * 16);
    greatest = _mm512_mask_max_ps(greatest, seen_by<kAll>(t, visible), greatest, score);
  }
  return greatest;
}

// Stores what the next span needs to know; `sum` is the span's own.
HADAL_INLINE void advance(SpanTile& tile, __m512 before, __m512 greatest, __m512 sum) {
  // A lane that has seen nothing has nothing to shrink.
  const __mmask16 some =
      _mm512_cmp_ps_mask(before, _mm512_set1_ps(-__builtin_huge_valf()), _CMP_NEQ_UQ);
  const __m512 shrink = _mm512_maskz_mov_ps(
      some, power_of_two(_mm512_mul_ps(_mm512_sub_ps(before, greatest), _mm512_set1_ps(kLog2E))));
  _mm512_store_ps(tile.shrink, shrink);
  _mm512_store_ps(tile.state->greatest, greatest);
  _mm512_store_ps(tile.state->sum, _mm512_fmadd_ps(load_floats(tile.state->sum), shrink, sum));
}

// The weight of token t, 0 where it is not seen.
template <bool kAll>
HADAL_INLINE __m512 weight_of(const SpanTile& tile, int t, __m512 visible, __m512 greatest) {
  const __m512 below = _mm512_sub_ps(load_floats(tile.scores + t * 16), greatest);
  return _mm512_maskz_mov_ps(seen_by<kAll>(t, visible),
                             power_of_two(_mm512_mul_ps(below, _mm512_set1_ps(kLog2E))));
}

HADAL_INLINE bool all_see_all(const SpanTile& tile) {
  const __m512 tokens = _mm512_set1_ps(static_cast<float>(tile.tokens));
  return _mm512_cmp_ps_mask(load_floats(tile.visible), tokens, _CMP_GE_OQ) == 0xffff;
}

inline void call_step(Ahead& ahead) {
  int64_t lines = ahead.each;
  while (lines > 0 && ahead.run < ahead.count) {
    Ahead::Run& run = ahead.runs[ahead.run];
    const std::byte* at = run.begin;
    for (; lines > 0 && at < run.end; --lines, at += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T1);
    }
    run.begin = at;
    if (at >= run.end) ++ahead.run;
  }
  ahead.left -= ahead.each;
}

HADAL_INLINE int32_t word_at(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof(word));
  return word;
}

// Both forms' products are a `Dot`: sum += a . b in each 32-bit word. They are written out: from
// its own intrinsics g++ 12 copies accumulators around every loop, which takes longer than the
// products.

// Scores: 16 bytes of a key meet the same bytes of four queries in one product, each query in one
// quarter of a vector. A load of a key's bytes thus serves four products, where spreading one word
// of it over 16 lanes would serve one; loads are two a cycle, like products.
constexpr int kStep = 16;     // bytes of a key
constexpr int kFours = 4;     // of queries in a tile
constexpr int kTogether = 4;  // keys that are scored together
constexpr int64_t kStepBytes = kFours * 64;

// Packed queries are [steps][4] vectors, query 4 f + l in quarter l of vector f: where its byte
// `byte` lies.
HADAL_INLINE std::byte* query_at(std::byte* steps, int64_t byte, int lane) {
  return steps + byte / kStep * kStepBytes + lane / 4 * 64 + lane % 4 * kStep + byte % kStep;
}
// Sums come out as query 4 f + l in lane 4 l + f; this order puts them right.
HADAL_INLINE int sum_at(int lane) { return lane % 4 * 4 + lane / 4; }
HADAL_INLINE __m512 in_order(__m512 sums) {
  const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
  return _mm512_permutexvar_ps(order, sums);
}

// sums[f] = [4 queries][4 parts of a sum]: (part 0 + part 2) + (part 1 + part 3).
HADAL_INLINE __m512i add_across(const __m512i* sums) {
  const __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi32(sums[0], sums[1]),
                                     _mm512_unpackhi_epi32(sums[0], sums[1]));
  const __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi32(sums[2], sums[3]),
                                     _mm512_unpackhi_epi32(sums[2], sums[3]));
  return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}
HADAL_INLINE __m512 add_across(const __m512* sums) {
  const __m512 a =
      _mm512_add_ps(_mm512_unpacklo_ps(sums[0], sums[1]), _mm512_unpackhi_ps(sums[0], sums[1]));
  const __m512 b =
      _mm512_add_ps(_mm512_unpacklo_ps(sums[2], sums[3]), _mm512_unpackhi_ps(sums[2], sums[3]));
  const __m512d c = _mm512_castps_pd(a);
  const __m512d d = _mm512_castps_pd(b);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(c, d)),
                       _mm512_castpd_ps(_mm512_unpackhi_pd(c, d)));
}

HADAL_INLINE void clear(__m512i& x) { x = _mm512_setzero_si512(); }
HADAL_INLINE void clear(__m512& x) { x = _mm512_setzero_ps(); }

// sums[t][f] = products of `steps` steps of keys that lie `stride` apart. Only the first kUsed
// fours of queries are there.
template <class Dot, int kUsed, class Sum>
HADAL_INLINE void add_steps(Sum (*sums)[kFours], const std::byte* queries, int64_t steps,
                            const std::byte* key, int64_t stride) {
#pragma GCC unroll 4
  for (int t = 0; t < kTogether; ++t) {
#pragma GCC unroll 4
    for (int f = 0; f < kFours; ++f) clear(sums[t][f]);
  }
  for (; steps > 0; --steps, queries += kStepBytes, key += kStep) {
    __m512i part[kTogether];
#pragma GCC unroll 4
    for (int t = 0; t < kTogether; ++t) {
      part[t] = _mm512_broadcast_i32x4(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(key + t * stride)));
    }
#pragma GCC unroll 4
    for (int f = 0; f < kUsed; ++f) {
      const __m512i query = _mm512_load_si512(queries + f * 64);
#pragma GCC unroll 4
      for (int t = 0; t < kTogether; ++t) Dot::add(sums[t][f], part[t], query);
    }
  }
}

// The keys of the block of tokens from `block` on meet all tiles: key `t` lies at first + t * stride.
// Form::score_block<fours>(keys, queries, key, stride, scores) scores kTogether keys.
template <class Form>
HADAL_INLINE void score_one_block(const PartForm& keys, const SpanTile* tiles, int count,
                                  const std::byte* first, int64_t stride, int block, Ahead& ahead) {
  for (int i = 0; i < count; ++i) {
    const SpanTile& tile = tiles[i];
    for (int t = 0; t < kDirectBlock; t += kTogether) {
      const std::byte* key = first + t * stride;
      float* scores = tile.scores + (block + t) * 16;
      call_step(ahead);
      switch ((tile.lanes + 3) / 4) {
        case 1:
          Form::template score_block<1>(keys, tile.queries, key, stride, scores);
          break;
        case 2:
          Form::template score_block<2>(keys, tile.queries, key, stride, scores);
          break;
        case 3:
          Form::template score_block<3>(keys, tile.queries, key, stride, scores);
          break;
        default:
          Form::template score_block<4>(keys, tile.queries, key, stride, scores);
      }
    }
  }
}

inline void spread_scores(int count, int tokens, Ahead& ahead) {
  ahead.spread((tokens + kDirectBlock - 1) / kDirectBlock * count * (kDirectBlock / kTogether));
}

// Keys as they lie in the cache.
template <class Form>
HADAL_INLINE void score_tiles(const PartForm& keys, const SpanTile* tiles, int count,
                              const std::byte* const* rows, int64_t stride, int tokens,
                              Ahead& ahead) {
  spread_scores(count, tokens, ahead);
  for (int block = 0; block < tokens; block += kDirectBlock) {
    score_one_block<Form>(keys, tiles, count, rows[block], stride, block, ahead);
  }
}

constexpr int kColumns = 64;  // of values, worked on together
inline int64_t context_stride(int64_t width) {
  return (width + kColumns - 1) / kColumns * kColumns;
}

// sums[q] += weights of the queries first to first + kQueries x `words` words of values.
template <class Dot, int kQueries, class Sum>
HADAL_INLINE void add_words(Sum (*sums)[4], const float* weights, const __m512i* values,
                            int words) {
  for (; words > 0; --words, weights += 16, values += 4) {
#pragma GCC unroll 4
    for (int q = 0; q < kQueries; ++q) {
      const __m512i weight = _mm512_set1_epi32(word_at(weights + q));
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) Dot::add(sums[q][v], weight, values[v]);
    }
  }
}

// Form::run<queries>(tile, first query, ...) for the queries of all tiles that see this span, as
// many at once as registers allow.
template <class Form>
HADAL_INLINE void run_tiles(const SpanTile* tiles, int count, const __m512i* values, int64_t column,
                            int64_t stride, Ahead& ahead) {
  for (int i = 0; i < count; ++i) {
    const SpanTile& tile = tiles[i];
    if (tile.tokens == 0) continue;
    int q = 0;
    for (; q + 4 <= tile.lanes; q += 4) {
      call_step(ahead);
      Form::template run<4>(tile, q, values, column, stride);
    }
    if (q < tile.lanes) call_step(ahead);
    if (q + 2 <= tile.lanes) {
      Form::template run<2>(tile, q, values, column, stride);
      q += 2;
    }
    if (q < tile.lanes) Form::template run<1>(tile, q, values, column, stride);
  }
}

// Form::interleave(rows, column, left, target) makes four vectors of Form::kWordTokens rows: a word
// for each of the columns [column, column + left), zeros past those.
template <class Form>
HADAL_INLINE void accumulate_tiles(int64_t width, const SpanTile* tiles, int count,
                                   const std::byte* const* rows, int tokens, Ahead& ahead) {
  const int64_t stride = context_stride(width);
  int64_t runs = 0;
  for (int i = 0; i < count; ++i) runs += (tiles[i].lanes + 3) / 4;
  ahead.spread(stride / kColumns * runs);
  alignas(64) __m512i values[Form::kSpan / Form::kWordTokens * 4];
  for (int64_t column = 0; column < width; column += kColumns) {
    __m512i* target = values;
    for (int t = 0; t < tokens; t += Form::kWordTokens, target += 4) {
      Form::interleave(rows + t, column, width - column, target);
    }
    run_tiles<Form>(tiles, count, values, column, stride, ahead);
  }
}

// What forms whose sums are floats share: run() over `words` words of values, and finish().
template <class Dot, int kQueries>
HADAL_INLINE void run_floats(const SpanTile& tile, int first, const __m512i* values, int words,
                             int64_t column, int64_t stride) {
  __m512 sums[kQueries][4];
  float* context = tile.context + first * stride + column;
#pragma GCC unroll 4
  for (int q = 0; q < kQueries; ++q) {
    const __m512 shrink = _mm512_set1_ps(tile.shrink[first + q]);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      sums[q][v] = _mm512_mul_ps(load_floats(context + q * stride + 16 * v), shrink);
    }
  }
  add_words<Dot, kQueries>(sums, tile.scores + first, values, words);
#pragma GCC unroll 4
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) _mm512_store_ps(context + q * stride + 16 * v, sums[q][v]);
  }
}

inline void finish_plain(float sum, const float* context, int64_t width, float* row) {
  const float factor = 1.0f / sum;
  for (int64_t c = 0; c < width; ++c) row[c] = context[c] * factor;
}
