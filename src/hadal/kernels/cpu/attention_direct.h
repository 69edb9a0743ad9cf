// Attention in the cache's own precision: keys and values meet queries and softmax weights as they
// lie in the cache, by the processor's dot products of bf16 or int8, or as floats from f16. Tiles
// as in attention_kernels.h: one query a lane.
//
// What is rounded, besides the cache: bf16: scaled queries and weights, to bf16. int8: a query's
// coarse part to int8 with one scale, its fine part to 12 bits with another; weights (times the
// value's scale) to 8 bits of the greatest that the query has in a span. f16: nothing. Integer sums
// are exact, so their order is free; of bf16, a score is four sums of every fourth pair of
// elements, added 0 + 2, 1 + 3, then both, and a context takes positions in ascending pairs; of f16
// likewise, by single elements and positions. In all a lane's numbers are a function of its query
// and of the positions that it sees.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hadal/kernels/cpu/attention_kernels.h"

namespace hadal::kernels::cpu {

inline constexpr int kDirectSpanMax = 128;
// Tokens are scored in blocks, counted from a span's first.
inline constexpr int kDirectBlock = 16;

// One tile while a span passes.
struct SpanTile {
  const std::byte* queries;  // packed
  float* scores;             // [span][16]; turned into weights in place
  TileState* state;
  float* context;  // [16][context_stride]
  int lanes;
  int tokens;  // of the span, that any lane sees
  alignas(64) float visible[kTileLanes];
  alignas(64) float shrink[kTileLanes];
  alignas(64) float factor[kTileLanes];  // of int8: what a unit of weight is worth
};

// Lines of memory that the next span needs, called into the second-level cache a few at a time
// while this one is worked on. The processor keeps only some dozens in flight, and calling more at
// once stops it; no calls for a while leave the memory idle.
struct Ahead {
  struct Run {
    const std::byte *begin, *end;  // begin advances
  };
  Run runs[2 * kDirectSpanMax];
  int count = 0, run = 0;        // runs there are, and have been called
  int64_t left = 0;              // lines
  int64_t budget = 0, each = 0;  // lines of one call of a kernel, and of one of its steps

  void add(const std::byte* begin, int64_t bytes) {
    if (count > 0 && runs[count - 1].end == begin) {
      runs[count - 1].end += bytes;
    } else {
      runs[count++] = {begin, begin + bytes};
    }
    left += (bytes + 63) / 64;
  }
  // The next call of a kernel is one of `parts` that share what is left, and has so many steps.
  void share(int64_t parts) { budget = std::max<int64_t>(0, (left + parts - 1) / parts); }
  void spread(int64_t steps) { each = (budget + steps - 1) / steps; }
};

struct DirectKernels {
  int span;  // positions that pass together; divides kChunkTokens
  // Whether parts of these forms can be taken, with queries cut at `head_width`; a fact of the
  // model, not of the batch.
  bool (*takes)(const PartForm& keys, const PartForm& values, int64_t head_width);
  // Bytes of a tile's packed queries.
  int64_t (*tile_bytes)(const PartForm& keys);
  // Floats of a context: columns rounded up to whole blocks.
  int64_t (*context_stride)(int64_t width);
  // A query is scale * [heads[lane][0, head_width) | tails[lane]...], keys.count elements in all;
  // lanes whose head is null become zero.
  void (*pack)(const PartForm& keys, float scale, const float* const* heads, int64_t head_width,
               const float* const* tails, std::byte* tile);
  // Scores of tokens [0, tokens) of every tile, rounded up to blocks. rows[t]: parts of cache rows;
  // those of a block are `stride` bytes apart and may all be read.
  void (*score)(const PartForm& keys, const SpanTile* tiles, int count,
                const std::byte* const* rows, int64_t stride, int tokens, Ahead& ahead);
  // Scores become weights, the state advances.
  void (*soften)(const PartForm& values, SpanTile& tile, const std::byte* const* rows);
  // context = context * shrink + weights x values, of every tile. Up to three rows past `tokens`
  // are read and must be zeros.
  void (*accumulate)(int64_t width, const SpanTile* tiles, int count, const std::byte* const* rows,
                     int tokens, Ahead& ahead);
  // One lane: row[0, width) = context / sum.
  void (*finish)(float sum, const float* context, int64_t width, float* row);
};

namespace avx512 {
const DirectKernels& int8_attention();  // VNNI
const DirectKernels& bf16_attention();  // AVX-512-BF16
const DirectKernels& f16_attention();   // float arithmetic
}  // namespace avx512

}  // namespace hadal::kernels::cpu
