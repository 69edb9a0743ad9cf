#include <algorithm>
#include <cstring>
#include <vector>

#include "hadal/base/check.h"
#include "hadal/kernels/cpu/attention_core.h"
#include "hadal/kernels/cpu/attention_naive.h"
#include "hadal/kernels/cpu/kernels.h"
#include "hadal/kernels/cpu/panel.h"
#include "hadal/kernels/cpu/segment_rows.h"
#include "hadal/kernels/cpu/tiles.h"
#include "hadal/kernels/cpu/units.h"

namespace hadal::kernels::cpu {
namespace {

// Absorbed queries held at a time, in floats (16 MiB): they are written by one phase and read by
// the next, best from the last-level cache.
constexpr int64_t kAbsorbedFloatsMax = int64_t{4} << 20;

void check_shapes(const MlaArgs& args) {
  HADAL_CHECK(args.cache.width == args.rank + args.rope.dims && args.cache.parts == 1);
  HADAL_CHECK(args.cache.dtype != DType::kI8 || args.cache.fine == args.rope.dims);
  if (args.part != MlaPart::kAttend) HADAL_CHECK(args.kv.cols == args.cache.width);
  if (args.part == MlaPart::kAll) HADAL_CHECK(args.kv.rows == args.q.rows);
  if (args.part == MlaPart::kStore) return;
  const int64_t head_dim = args.nope_dim + args.rope.dims;
  HADAL_CHECK(args.q.cols == args.heads * head_dim && args.out.rows == args.q.rows);
  HADAL_CHECK(args.out.cols == int64_t{args.heads} * args.v_dim);
  HADAL_CHECK(args.k_up->count() == args.heads && args.v_up->count() == args.heads);
  HADAL_CHECK(args.k_up->rows() == args.rank && args.k_up->cols() == args.nope_dim);
  HADAL_CHECK(args.v_up->rows() == args.v_dim && args.v_up->cols() == args.rank);
}

// Row i of the segment: [rms_norm(latent) | rope(k_rope)] into its page.
void store_row(CpuContext& context, const MlaArgs& args, const Segment& segment, int64_t i) {
  const int64_t row = segment.first_row + i;
  float* kv = args.kv.row(row);
  context.kernels.rms_norm_row(kv, args.kv_norm_weight, args.norm_eps, args.rank, kv);
  rotate(args.rope, row, kv + args.rank);
  store_cache_row(context, args.cache, segment, segment.position + i, kv);
}

// Position 0 of a segment whose rows do not see it: its weight is as good as 0, and 0 times what
// lies there must be 0.
void clear_first(const MlaArgs& args) {
  if (!args.skip_first) return;
  for (const Segment& segment : args.segments) {
    if (segment.position > 1) continue;
    std::memset(cache_row(args.cache, segment, 0), 0, cache_row_bytes(args.cache));
  }
}

void rotate_queries(const MlaArgs& args, int64_t row) {
  const int64_t head_dim = args.nope_dim + args.rope.dims;
  for (int64_t head = 0; head < args.heads; ++head) {
    rotate(args.rope, row, args.q.row(row) + head * head_dim + args.nope_dim);
  }
}

// What is asked of every row by itself.
void prepare_rows(CpuContext& context, const MlaArgs& args) {
  if (args.part != MlaPart::kAttend) clear_first(args);
  each_segment_row(context.pool, args.segments, [&](const Segment& segment, int64_t i) {
    if (args.part != MlaPart::kAttend) store_row(context, args, segment, i);
    if (args.part != MlaPart::kStore) rotate_queries(args, segment.first_row + i);
  });
}

// Every head by itself, each with its part of `matrix` and `rows` rows: body(head, thread).
template <class Body>
void each_head(CpuContext& context, const PackedMatrix& matrix, int64_t rows, Body body) {
  const PanelMatrix& part = matrix.part(0);
  const uint64_t bytes = part.panel_bytes * static_cast<uint64_t>(part.panels());
  PanelRun run{matrix.count(), bytes, piece_bytes(tile_count(rows))};
  run.step = 1;
  run.work = streamed_bytes(bytes * static_cast<uint64_t>(run.count), rows);
  for_panels(context.pool, run, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t head = begin; head < end; ++head) body(head, thread);
  });
}

// One head's columns [rank] of every row into the space of kI8's coarse codes, or back.
void turn_heads(CpuContext& context, const MlaArgs& args, View latent, int64_t head) {
  if (args.cache.dtype != DType::kI8) return;
  for (int64_t row = 0; row < latent.rows; ++row) {
    attention_kernels(context.isa).hadamard(latent.row(row) + head * args.rank, args.rank);
  }
}

// Rows [begin, end): absorb, attend, and project each head's context.
void attend_rows(CpuContext& context, const MlaArgs& args, int64_t begin, int64_t end) {
  Scratch::Frame frame(context.shared);
  const int64_t width = int64_t{args.heads} * args.rank;
  const View q = args.q.some_rows(begin, end);
  const View out = args.out.some_rows(begin, end);
  const int64_t stride = spread_stride(width);
  const View latent{context.shared.take<float>((end - begin) * stride), end - begin, width, stride,
                    Device::kCpu};
  const int64_t head_dim = args.nope_dim + args.rope.dims;
  each_head(context, of(*args.k_up), end - begin, [&](int64_t head, int thread) {
    multiply(context, thread, of(*args.k_up), head, q.columns(head * head_dim, args.nope_dim),
             latent.columns(head * args.rank, args.rank), false);
    turn_heads(context, args, latent, head);
  });

  AttendArgs attention;
  // Indexed by the row of the batch; the context takes the place of the query that it came from.
  attention.query = {latent.data - begin * stride, stride, args.rank, args.rank};
  attention.query_tail = {args.q.data + args.nope_dim, args.q.stride, head_dim, args.rope.dims};
  attention.out = attention.query;
  attention.keys = {&args.cache, args.cache.width};
  attention.values = {nullptr, args.rank};
  attention.heads = args.heads;
  attention.scale = args.scale;
  attention.skip_first = args.skip_first;
  attention.segments = args.segments;
  attention.row_begin = begin;
  attention.row_end = end;
  attend(context, attention);

  each_head(context, of(*args.v_up), end - begin, [&](int64_t head, int thread) {
    turn_heads(context, args, latent, head);
    multiply(context, thread, of(*args.v_up), head, latent.columns(head * args.rank, args.rank),
             out.columns(head * args.v_dim, args.v_dim), false);
  });
}

// Rows [begin, end), as many at a time as there is room for.
void attend_absorbed(CpuContext& context, const MlaArgs& args, int64_t begin, int64_t end) {
  const int64_t block =
      std::max<int64_t>(1, kAbsorbedFloatsMax / (int64_t{args.heads} * args.rank));
  for (; begin < end; begin += block) {
    attend_rows(context, args, begin, std::min(end, begin + block));
  }
}

}  // namespace

void mla(CpuContext& context, const MlaArgs& args) {
  check_shapes(args);
  prepare_rows(context, args);
  if (args.part == MlaPart::kStore) return;
  std::vector<const Segment*> naive;
  int64_t begin = 0;
  for (const Segment& segment : args.segments) {
    if (!is_naive(context, args, segment)) continue;
    naive.push_back(&segment);
    HADAL_CHECK(segment.first_row >= begin, "segments are in the order of their rows");
    attend_absorbed(context, args, begin, segment.first_row);
    begin = segment.first_row + segment.rows;
  }
  attend_absorbed(context, args, begin, args.q.rows);
  if (!naive.empty()) attend_naive(context, args, naive);
}

}  // namespace hadal::kernels::cpu
