// The functions of attention_kernels.h over an instruction set's F32x16. Every chain of additions
// is written out as one fused multiply-add after another in a fixed order, so that blocks of
// different shapes (8 tokens or 4, one tile or two) give the same bits.

constexpr float kMinusInfinity = -__builtin_huge_valf();

inline void pack_queries(const float* const* rows, int64_t count, float* tile) {
  for (int lane = 0; lane < kTileLanes; ++lane) {
    const float* row = rows[lane];
    for (int64_t d = 0; d < count; ++d) {
      tile[d * kTileLanes + lane] = row != nullptr ? row[d] : 0.0f;
    }
  }
}

template <int kTokens, int kTiles>
inline void score_block(const float* queries, int64_t width, const float* keys, int64_t key_stride,
                        float* scores) {
  F32x16 sums[kTokens][kTiles];
#pragma GCC unroll 32
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 32
    for (int i = 0; i < kTiles; ++i) sums[t][i] = f32_zero();
  }
  for (int64_t d = 0; d < width; ++d) {
    F32x16 query[kTiles];
#pragma GCC unroll 32
    for (int i = 0; i < kTiles; ++i) query[i] = f32_load(queries + (i * width + d) * kTileLanes);
#pragma GCC unroll 32
    for (int t = 0; t < kTokens; ++t) {
      const F32x16 key = f32_set(keys[t * key_stride + d]);
#pragma GCC unroll 32
      for (int i = 0; i < kTiles; ++i) sums[t][i] = fma(key, query[i], sums[t][i]);
    }
  }
#pragma GCC unroll 32
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 32
    for (int i = 0; i < kTiles; ++i) {
      f32_store(scores + (int64_t{i} * kSpanTokens + t) * kTileLanes, sums[t][i]);
    }
  }
}

inline void score(const float* queries, int tiles, int64_t width, const float* keys,
                  int64_t key_stride, int tokens, float* scores) {
  constexpr int64_t kTileScores = int64_t{kSpanTokens} * kTileLanes;
  const int64_t tile_size = width * kTileLanes;
  for (int t = 0; t < tokens; t += kScoreTokens) {
    // These keys stay in the first-level cache while every tile passes.
    const float* block = keys + t * key_stride;
    float* target = scores + int64_t{t} * kTileLanes;
    int tile = 0;
    for (; tile + kScoreTiles <= tiles; tile += kScoreTiles) {
      score_block<kScoreTokens, kScoreTiles>(queries + tile * tile_size, width, block, key_stride,
                                             target + tile * kTileScores);
    }
    for (; tile < tiles; ++tile) {
      score_block<kScoreTokens, 1>(queries + tile * tile_size, width, block, key_stride,
                                   target + tile * kTileScores);
    }
  }
}

inline void score_rows(const float* queries, int lanes, int64_t stride, const float* keys,
                       int tokens, float* scores) {
  for (int t = 0; t < tokens; t += kDotTokens) {
    for (int first = 0; first < lanes; first += kDotQueries) {
      F32x16 sums[kDotQueries][kDotTokens];
#pragma GCC unroll 8
      for (int q = 0; q < kDotQueries; ++q) {
#pragma GCC unroll 8
        for (int i = 0; i < kDotTokens; ++i) sums[q][i] = f32_zero();
      }
      for (int64_t d = 0; d < stride; d += kTileLanes) {
        F32x16 key[kDotTokens];
#pragma GCC unroll 8
        for (int i = 0; i < kDotTokens; ++i) key[i] = f32_load(keys + (t + i) * stride + d);
#pragma GCC unroll 8
        for (int q = 0; q < kDotQueries; ++q) {
          const F32x16 query = f32_load(queries + (first + q) * stride + d);
#pragma GCC unroll 8
          for (int i = 0; i < kDotTokens; ++i) sums[q][i] = fma(query, key[i], sums[q][i]);
        }
      }
      store_sums(sums, scores + t * kTileLanes + first);
    }
  }
}

// exp(a - b), and 0 where a is minus infinity: nothing was there to shrink, and b may be minus
// infinity too.
HADAL_INLINE F32x16 ratio(F32x16 a, F32x16 b) {
  return if_less(f32_set(kMinusInfinity), a, exponential(subtract(a, b)), f32_zero());
}

inline void soften(float* scores, int tokens, const float* visible, float scale, TileState& state,
                   float* shrink) {
  const F32x16 limit = f32_load(visible);
  const F32x16 before = f32_load(state.greatest);
  F32x16 greatest = before;
  for (int t = 0; t < tokens; ++t) {
    const F32x16 scaled = multiply(f32_load(scores + t * kTileLanes), f32_set(scale));
    const F32x16 index = f32_set(static_cast<float>(t));
    const F32x16 score = if_less(index, limit, scaled, f32_set(kMinusInfinity));
    f32_store(scores + t * kTileLanes, score);
    greatest = maximum(greatest, score);
  }
  F32x16 sum = f32_zero();
  for (int t = 0; t < tokens; ++t) {
    const F32x16 index = f32_set(static_cast<float>(t));
    const F32x16 weight = exponential(subtract(f32_load(scores + t * kTileLanes), greatest));
    const F32x16 kept = if_less(index, limit, weight, f32_zero());
    f32_store(scores + t * kTileLanes, kept);
    sum = add(sum, kept);
  }
  const F32x16 factor = ratio(before, greatest);
  f32_store(shrink, factor);
  f32_store(state.greatest, greatest);
  f32_store(state.sum, fma(f32_load(state.sum), factor, sum));
}

template <int kQueries, int kVectors>
inline void accumulate_block(const float* weights, int tokens, const float* shrink,
                             const float* values, int64_t value_stride, float* context,
                             int64_t context_stride) {
  F32x16 sums[kQueries][kVectors];
#pragma GCC unroll 32
  for (int q = 0; q < kQueries; ++q) {
    const F32x16 factor = f32_set(shrink[q]);
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) {
      sums[q][v] = multiply(f32_load(context + q * context_stride + v * kTileLanes), factor);
    }
  }
  for (int t = 0; t < tokens; ++t) {
    F32x16 value[kVectors];
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) {
      value[v] = f32_load(values + t * value_stride + v * kTileLanes);
    }
#pragma GCC unroll 32
    for (int q = 0; q < kQueries; ++q) {
      const F32x16 weight = f32_set(weights[t * kTileLanes + q]);
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; ++v) sums[q][v] = fma(weight, value[v], sums[q][v]);
    }
  }
#pragma GCC unroll 32
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) {
      f32_store(context + q * context_stride + v * kTileLanes, sums[q][v]);
    }
  }
}

template <int kVectors>
inline void accumulate_columns(const float* weights, int tokens, int lanes, const float* shrink,
                               const float* values, int64_t value_stride, float* context,
                               int64_t context_stride) {
  int q = 0;
  for (; q + 4 <= lanes; q += 4) {
    accumulate_block<4, kVectors>(weights + q, tokens, shrink + q, values, value_stride,
                                  context + q * context_stride, context_stride);
  }
  for (; q + 2 <= lanes; q += 2) {
    accumulate_block<2, kVectors>(weights + q, tokens, shrink + q, values, value_stride,
                                  context + q * context_stride, context_stride);
  }
  if (q < lanes) {
    accumulate_block<1, kVectors>(weights + q, tokens, shrink + q, values, value_stride,
                                  context + q * context_stride, context_stride);
  }
}

inline void accumulate(const float* weights, int tokens, int lanes, const float* shrink,
                       const float* values, int64_t value_stride, int64_t width, float* context,
                       int64_t context_stride) {
  constexpr int kColumns = kContextVectors * kTileLanes;
  int64_t c = 0;
  for (; c + kColumns <= padded_width(width); c += kColumns) {
    accumulate_columns<kContextVectors>(weights, tokens, lanes, shrink, values + c, value_stride,
                                        context + c, context_stride);
  }
  for (; c < padded_width(width); c += kTileLanes) {
    accumulate_columns<1>(weights, tokens, lanes, shrink, values + c, value_stride, context + c,
                          context_stride);
  }
}

inline void merge(TileState& state, const TileState& later, float* keep, float* take) {
  const F32x16 a = f32_load(state.greatest);
  const F32x16 b = f32_load(later.greatest);
  const F32x16 greatest = maximum(a, b);
  const F32x16 of_a = ratio(a, greatest);
  const F32x16 of_b = ratio(b, greatest);
  const F32x16 kept = multiply(f32_load(state.sum), of_a);
  f32_store(state.greatest, greatest);
  f32_store(state.sum, fma(f32_load(later.sum), of_b, kept));
  f32_store(keep, of_a);
  f32_store(take, of_b);
}

inline void merge_context(float keep, float take, const float* later, int64_t width,
                          float* context) {
  for (int64_t c = 0; c < width; c += kTileLanes) {
    const F32x16 mine = multiply(f32_load(context + c), f32_set(keep));
    f32_store(context + c, fma(f32_load(later + c), f32_set(take), mine));
  }
}

inline void finish(float sum, const float* context, int64_t width, float* row) {
  const float factor = 1.0f / sum;
  for (int64_t c = 0; c < width; ++c) row[c] = context[c] * factor;
}

constexpr AttentionKernels kAttentionKernels = {
    &load_row, &store_row,  &hadamard, &pack_queries,  &score,  &score_rows,
    &soften,   &accumulate, &merge,    &merge_context, &finish,
};
