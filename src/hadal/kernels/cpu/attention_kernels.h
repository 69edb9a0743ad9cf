// The inner loops of attention, compiled once per instruction set. Shapes are in tiles: 16 queries
// that share one stream of keys stand side by side, one in each lane, so that scores, maxima and
// sums need no horizontal steps and lanes never meet: what a lane computes is independent of its
// neighbours.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hadal/kernels/cpu/matmul.h"
#include "hadal/kernels/op/attention.h"
#include "hadal/tensor/dtype.h"

namespace hadal::kernels::cpu {

inline constexpr int kTileLanes = 16;
// Positions that are converted, scored and accumulated together. The online softmax advances by
// spans counted from position 0, whatever the size of a cache page.
inline constexpr int kSpanTokens = 32;

// Rows in f32 are padded so that kernels may read and write whole vectors.
constexpr int64_t padded_width(int64_t width) {
  return (width + kTileLanes - 1) / kTileLanes * kTileLanes;
}

// Running softmax of one tile: the greatest score so far, and the sum of exp(score - greatest).
struct alignas(64) TileState {
  float greatest[kTileLanes];
  float sum[kTileLanes];
};

// A part of a cache row (see CachePages): `count` elements, the last `fine` of them apart.
struct PartForm {
  DType dtype;
  int64_t count;
  int64_t fine;

  int64_t coarse() const { return count - fine; }
  // Of kI8, in bytes.
  int64_t fine_at() const { return (coarse() + 3) / 4 * 4; }
  int64_t scale_at() const { return fine_at() + (fine + 1) / 2 * 4; }
};
// Parts of kI8 whose elements are all smaller count as zero.
inline constexpr float kLeastMagnitude = 1e-35f;

struct AttentionKernels {
  // target[0, padded_width(count)) = values of a part; what lies past `count` is zero. Of kI8 the
  // coarse elements are given as they are stored, turned.
  void (*load_row)(const PartForm& form, const std::byte* source, float* target);
  // The inverse, rounded to nearest even. Writes the part's bytes and no others.
  void (*store_row)(const PartForm& form, const float* source, std::byte* target);
  // x[0, count) = Hx; see CachePages.
  void (*hadamard)(float* x, int64_t count);
  // tile[d][lane] = rows[lane][d] for d in [0, count); lanes whose row is null become zero.
  void (*pack_queries)(const float* const* rows, int64_t count, float* tile);

  // scores[tile][t][lane] = sum over d, ascending, of queries[tile][d][lane] * keys[t][d].
  // queries: [tiles][width][16]; keys: [kSpanTokens][key_stride]; scores: [tiles][kSpanTokens][16].
  // Computes whole blocks of tokens: scores past `tokens` are written and mean nothing.
  void (*score)(const float* queries, int tiles, int64_t width, const float* keys,
                int64_t key_stride, int tokens, float* scores);
  // The same for one tile of which few lanes are used, from rows instead of columns of queries:
  // scores[t][lane] = sum over d of queries[lane][d] * keys[t][d], 16 partial sums (d modulo 16),
  // then a tree of halves. queries: [16][stride], keys: [kSpanTokens][stride], stride =
  // padded_width(width). Computes whole blocks of lanes and tokens.
  void (*score_rows)(const float* queries, int lanes, int64_t stride, const float* keys, int tokens,
                     float* scores);
  // One tile: scores become weights exp(scale * score - greatest), 0 where t >= visible[lane];
  // `state` advances, and `shrink` [16] is the factor by which what was accumulated before has to
  // shrink. visible [16]: whole numbers in [0, tokens].
  void (*soften)(float* scores, int tokens, const float* visible, float scale, TileState& state,
                 float* shrink);
  // One tile: context[lane] = context[lane] * shrink[lane] + sum over t, ascending, of
  // weights[t][lane] * values[t]. context: [16][context_stride], weights: [tokens][16].
  void (*accumulate)(const float* weights, int tokens, int lanes, const float* shrink,
                     const float* values, int64_t value_stride, int64_t width, float* context,
                     int64_t context_stride);
  // One tile: what was seen at earlier positions takes in what was seen at later ones. The context
  // of a lane then becomes keep[lane] * its own + take[lane] * the later one; keep, take: [16].
  void (*merge)(TileState& state, const TileState& later, float* keep, float* take);
  // That, of one lane: contexts [padded_width(width)].
  void (*merge_context)(float keep, float take, const float* later, int64_t width, float* context);
  // One lane: row[0, width) = context / sum.
  void (*finish)(float sum, const float* context, int64_t width, float* row);
};

const AttentionKernels& attention_kernels(Isa isa);

namespace avx2 {
const AttentionKernels& attention_kernels();
}
namespace avx512 {
const AttentionKernels& attention_kernels();
}

}  // namespace hadal::kernels::cpu
