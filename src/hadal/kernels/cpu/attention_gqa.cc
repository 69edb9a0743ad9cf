#include "hadal/base/check.h"
#include "hadal/kernels/cpu/attention_core.h"
#include "hadal/kernels/cpu/kernels.h"
#include "hadal/kernels/cpu/segment_rows.h"

namespace hadal::kernels::cpu {
namespace {

constexpr size_t kRowGrain = 8;

void check_shapes(const GqaArgs& args) {
  HADAL_CHECK(args.kv_heads > 0 && args.heads % args.kv_heads == 0);
  HADAL_CHECK(args.rope.dims <= args.head_dim);
  for (const CachePages* cache : {&args.k_cache, &args.v_cache}) {
    HADAL_CHECK(cache->parts == args.kv_heads);
    HADAL_CHECK(cache->dtype != DType::kI8 || cache->fine == 0);
  }
  HADAL_CHECK(args.k_cache.width == int64_t{args.kv_heads} * args.head_dim);
  HADAL_CHECK(args.v_cache.width == int64_t{args.kv_heads} * args.v_dim);
  HADAL_CHECK(args.q.cols == int64_t{args.heads} * args.head_dim);
  HADAL_CHECK(args.k.cols == args.k_cache.width && args.v.cols == args.v_cache.width);
  HADAL_CHECK(args.out.cols == int64_t{args.heads} * args.v_dim);
  HADAL_CHECK(args.k.rows == args.q.rows && args.v.rows == args.q.rows);
  HADAL_CHECK(args.out.rows == args.q.rows);
}

// Normalises and rotates every head of one row.
void prepare_heads(CpuContext& context, const GqaArgs& args, int64_t row, const float* norm_weight,
                   View x) {
  for (int64_t c = 0; c < x.cols; c += args.head_dim) {
    float* head = x.row(row) + c;
    if (norm_weight != nullptr) {
      context.kernels.rms_norm_row(head, norm_weight, args.norm_eps, args.head_dim, head);
    }
    rotate(args.rope, row, head);
  }
}

// Every head of a row into the space of kI8's codes, or back.
void turn_heads(CpuContext& context, float* row, int64_t cols, int64_t head) {
  for (int64_t c = 0; c < cols; c += head) attention_kernels(context.isa).hadamard(row + c, head);
}

void prepare_row(CpuContext& context, const GqaArgs& args, const Segment& segment, int64_t i) {
  const int64_t row = segment.first_row + i;
  const int64_t position = segment.position + i;
  prepare_heads(context, args, row, args.q_norm_weight, args.q);
  prepare_heads(context, args, row, args.k_norm_weight, args.k);
  if (args.k_cache.dtype == DType::kI8)
    turn_heads(context, args.q.row(row), args.q.cols, args.head_dim);
  store_cache_row(context, args.k_cache, segment, position, args.k.row(row));
  store_cache_row(context, args.v_cache, segment, position, args.v.row(row));
}

}  // namespace

void gqa(CpuContext& context, const GqaArgs& args) {
  check_shapes(args);
  each_segment_row(context.pool, args.segments, [&](const Segment& segment, int64_t i) {
    prepare_row(context, args, segment, i);
  });
  AttendArgs attention;
  attention.query = {args.q.data, args.q.stride, args.head_dim, args.head_dim};
  attention.out = {args.out.data, args.out.stride, args.v_dim, args.v_dim};
  attention.keys = {&args.k_cache, args.head_dim};
  attention.values = {&args.v_cache, args.v_dim};
  attention.groups = args.kv_heads;
  attention.heads = args.heads / args.kv_heads;
  attention.scale = args.scale;
  attention.segments = args.segments;
  attention.row_begin = 0;
  attention.row_end = args.q.rows;
  attend(context, attention);
  if (args.v_cache.dtype != DType::kI8) return;
  context.pool.parallel_for(
      static_cast<size_t>(args.out.rows), kRowGrain, [&](size_t begin, size_t end, int) {
        for (size_t i = begin; i < end; ++i) {
          turn_heads(context, args.out.row(static_cast<int64_t>(i)), args.out.cols, args.v_dim);
        }
      });
}

}  // namespace hadal::kernels::cpu
