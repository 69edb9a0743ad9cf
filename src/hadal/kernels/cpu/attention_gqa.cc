#include "hadal/base/check.h"
#include "hadal/kernels/cpu/attention_core.h"
#include "hadal/kernels/cpu/kernels.h"

namespace hadal::kernels::cpu {
namespace {

constexpr size_t kRowGrain = 8;

void check_shapes(const GqaArgs& args) {
  HADAL_CHECK(args.kv_heads > 0 && args.heads % args.kv_heads == 0);
  HADAL_CHECK(args.rope.dims <= args.head_dim);
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

void prepare_row(CpuContext& context, const GqaArgs& args, const Segment& segment, int64_t i) {
  const AttentionKernels& kernels = attention_kernels(context.isa);
  const int64_t row = segment.first_row + i;
  const int64_t position = segment.position + i;
  prepare_heads(context, args, row, args.q_norm_weight, args.q);
  prepare_heads(context, args, row, args.k_norm_weight, args.k);
  kernels.store_row(args.k_cache.dtype, args.k.row(row), args.k_cache.width,
                    cache_row(args.k_cache, segment, position));
  kernels.store_row(args.v_cache.dtype, args.v.row(row), args.v_cache.width,
                    cache_row(args.v_cache, segment, position));
}

}  // namespace

void gqa(CpuContext& context, const GqaArgs& args) {
  check_shapes(args);
  for (const Segment& segment : args.segments) {
    context.pool.parallel_for(static_cast<size_t>(segment.rows), kRowGrain,
                              [&](size_t begin, size_t end, int) {
                                for (size_t i = begin; i < end; ++i) {
                                  prepare_row(context, args, segment, static_cast<int64_t>(i));
                                }
                              });
  }
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
}

}  // namespace hadal::kernels::cpu
