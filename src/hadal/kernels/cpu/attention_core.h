// Softmax attention over paged rows, for both operations: queries that share one stream of keys (a
// group: all heads of MLA, the heads of one kv head of GQA) are laid into tiles of 16.
//
// The order of additions of a query is a function of its position alone: positions are taken in
// spans of kSpanTokens from 0, spans in chunks of kChunkTokens from 0, chunks are merged first to
// last. A chunk may thus be computed by another thread, or beside other rows, and the bits stay the
// same.
//
// A position that a query does not see yet has weight 0 for it: where a row of a prompt holds an
// infinity or a NaN, earlier rows of the same step and prompt may turn NaN with it. Other sequences
// never meet.
#pragma once

#include <cstdint>
#include <span>

#include "hadal/kernels/cpu/attention_kernels.h"
#include "hadal/kernels/op/attention.h"

namespace hadal::kernels::cpu {

inline constexpr int kChunkTokens = 512;
static_assert(kChunkTokens % kSpanTokens == 0);

// [row][head][width] anywhere.
struct HeadRows {
  float* data = nullptr;
  int64_t row_stride = 0;
  int64_t head_stride = 0;
  int64_t width = 0;

  float* at(int64_t row, int64_t head) const {
    return data + row * row_stride + head * head_stride;
  }
};

// Which elements of a cache row belong to a group.
struct CacheColumns {
  const CachePages* pages = nullptr;
  int64_t width = 0;  // of a group; group g has [g * width, (g + 1) * width)
};

struct AttendArgs {
  HeadRows query, query_tail;  // a query is both, one after the other; the tail may have width 0
  HeadRows out;                // may be `query` itself
  CacheColumns keys;           // width = query.width + query_tail.width
  CacheColumns values;         // pages null: the first `width` elements of the keys
  int32_t groups = 1;
  int32_t heads = 1;  // of a group
  float scale = 1.0f;
  bool skip_first = false;  // as in MlaArgs; the entry at position 0 must be finite
  std::span<const Segment> segments;
  int64_t row_begin = 0;  // only rows [row_begin, row_end) of the batch
  int64_t row_end = 0;
};

// Every row's keys and values are in the cache. Uses the pool.
void attend(CpuContext& context, const AttendArgs& args);

// A part of the pages' rows.
PartForm part_form(const CachePages& pages);
// Writes x [width] as the row of `position`. kI8: x is turned in place first.
void store_cache_row(CpuContext& context, const CachePages& pages, const Segment& segment,
                     int64_t position, float* x);
// Where position `position` of the segment is stored.
std::byte* cache_row(const CachePages& pages, const Segment& segment, int64_t position);

// Turns x[0, rope.dims) by the angles of batch row `row`.
void rotate(const RopeRows& rope, int64_t row, float* x);

}  // namespace hadal::kernels::cpu
