// Attention of new rows over paged caches.
//
// A cache page ("block") holds `page_tokens` consecutive positions of one sequence; position p of a
// segment lies in block blocks[p / page_tokens], slot p % page_tokens. Both operations first write the new
// rows' cache entries, then let row i (at position p_i) attend to positions 0..p_i of its own sequence.
//
// Batch rule: softmax is reduced page by page from position 0, whatever the batch, the chunking of a prompt
// and the number of threads, so that a row's result is the same bits alone and among others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hadal/kernels/weights.h"
#include "hadal/tensor/dtype.h"
#include "hadal/tensor/view.h"

namespace hadal::kernels {

// Rows of one stream of one layer for every block of the pool.
//
// A row is `parts` parts, one a head (MLA: one in all), of width / parts elements. kF32, kF16 and kBF16
// hold the elements one after another. A part of kI8 holds, in this order and without gaps,
//   its coarse elements (all but `fine`) as bytes, code + 128, code in [-127, 127], then bytes of any
//     value up to a multiple of 4;
//   its last `fine` elements as int16, code in [-8191, 8191], then one of any value where `fine` is odd;
//   a float: the scale of the coarse elements; and, where there are fine ones, their scale.
// An element is scale * code, the scale being the greatest magnitude / 127, or / 8191. What the coarse
// codes hold is not x but Hx, in blocks of hadamard_block(coarse) elements, with H[i][j] =
// (-1)^popcount(i & j) / sqrt(block): it is its own inverse, leaves dot products as they are, and spreads
// the few large elements that models have over all others, so that one scale serves all.
// A row that holds an infinity or a NaN is read back as not finite.
struct CachePages {
  std::byte* data = nullptr;
  DType dtype = DType::kF16;   // kF32, kF16, kBF16 or kI8
  int32_t page_tokens = 0;
  int64_t width = 0;           // elements of a row
  int32_t parts = 1;           // divides width
  int32_t fine = 0;            // of kI8: the last elements of a part, kept in 16 bits (MLA: k_rope)
  // Row of (block b, slot s): data + (b * page_tokens + s) * cache_row_bytes(...).
};

// The greatest power of two that divides `coarse`, at most 512.
constexpr int64_t hadamard_block(int64_t coarse) {
  const int64_t power = coarse & -coarse;
  return power < 512 ? power : 512;
}

// Bytes of one part of `elements`.
inline uint64_t cache_part_bytes(DType dtype, int64_t elements, int64_t fine) {
  if (dtype != DType::kI8) return row_bytes(dtype, static_cast<uint64_t>(elements));
  const int64_t codes = (elements - fine + 3) / 4 * 4 + (fine + 1) / 2 * 4;
  return static_cast<uint64_t>(codes + (fine > 0 ? 8 : 4));
}
inline uint64_t cache_row_bytes(const CachePages& pages) {
  return static_cast<uint64_t>(pages.parts) *
         cache_part_bytes(pages.dtype, pages.width / pages.parts, pages.fine);
}

// Consecutive rows of the batch that are consecutive positions of one sequence.
struct Segment {
  int32_t first_row = 0;
  int32_t rows = 0;
  int32_t position = 0;               // of first_row
  std::span<const int32_t> blocks;    // covers positions [0, position + rows)
};

enum class RopeStyle : uint8_t {
  kInterleaved,  // pairs (2i, 2i+1): DeepSeek's MLA, llama in GGUF
  kHalves,       // pairs (i, i + d/2): NeoX, Qwen, llama in Hugging Face files
};

// cos and sin for every row of the batch, magnitude (YaRN) included: pair j is turned by
// (a, b) -> (a cos - b sin, a sin + b cos).
struct RopeRows {
  const float* cos = nullptr;  // [n, dims / 2]
  const float* sin = nullptr;  // [n, dims / 2]
  int32_t dims = 0;            // rotated elements of a head
  RopeStyle style = RopeStyle::kInterleaved;
};

// Multi-head latent attention in its absorbed form (DeepSeek-V2 paper, section 2.1): the cache holds
// [latent | k_rope], latent = rms_norm(kv_a[0:rank]), k_rope = rope(kv_a[rank:rank+rope]).
//   q_c[h]     = k_up[h] q_nope[h]                         [rank]
//   score(t)   = scale * (q_c[h] . latent(t) + rope(q_rope[h]) . k_rope(t))
//   context[h] = sum_t softmax(score)(t) latent(t)         [rank]
//   out[h]     = v_up[h] context[h]                        [v_dim]
enum class MlaPart : uint8_t {
  kAll,
  kStore,   // the new rows' cache entries; q and out are not touched and may be empty
  kAttend,  // the rest, after kStore of every row that these see; kv is not touched and may be empty
};

struct MlaArgs {
  View q;                        // [n, heads * (nope + rope)], per head nope first; overwritten
  View kv;                       // [n, rank + rope] as projected; overwritten
  const float* kv_norm_weight;   // [rank]
  float norm_eps;
  const Matrix* k_up;            // count heads, [rank, nope]
  const Matrix* v_up;            // count heads, [v_dim, rank]
  RopeRows rope;
  int32_t heads, nope_dim, rank, v_dim;
  float scale;                   // (nope + rope)^-0.5 * mscale^2
  // Rows past position 0 do not see position 0, whatever its entry holds: a next-token-prediction layer's
  // entry at position p is made of the hidden state at p - 1, so there is none at 0.
  bool skip_first = false;
  CachePages cache;              // width = rank + rope.dims; kI8: fine = rope.dims
  std::span<const Segment> segments;
  View out;                      // [n, heads * v_dim]
  MlaPart part = MlaPart::kAll;
  // Segments of at least `naive_rows_min` rows may be computed in the naive form: keys and values of
  // heads are expanded from the latents, k[h] = k_up[h]^T latent, v[h] = v_up[h] latent, and met as in
  // any attention. The same but for rounding, to int8 whatever the cache holds; which rows are computed
  // so depends on how the batch is cut. Null: none are.
  const Expansion* naive = nullptr;
  int32_t naive_rows_min = 256;
};

// Grouped-query attention: head h reads kv head h / (heads / kv_heads). The key cache holds rotated keys.
struct GqaArgs {
  View q;                          // [n, heads * head_dim]; overwritten
  View k;                          // [n, kv_heads * head_dim]; overwritten
  View v;                          // [n, kv_heads * v_dim]; overwritten
  const float* q_norm_weight = nullptr;  // [head_dim] or null: RMS norm of each head before rope (Qwen3)
  const float* k_norm_weight = nullptr;
  float norm_eps = 0.0f;
  RopeRows rope;                   // the first rope.dims elements of a head
  int32_t heads, kv_heads, head_dim, v_dim;
  float scale;                     // head_dim^-0.5
  CachePages k_cache;              // width = kv_heads * head_dim, kv_heads parts
  CachePages v_cache;              // width = kv_heads * v_dim, likewise
  std::span<const Segment> segments;
  View out;                        // [n, heads * v_dim]
};

}  // namespace hadal::kernels
