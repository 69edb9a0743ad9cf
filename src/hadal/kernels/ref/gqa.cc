#include <vector>

#include "hadal/base/check.h"
#include "hadal/kernels/ref/cache.h"
#include "hadal/kernels/ref/ops.h"
#include "hadal/kernels/ref/rows.h"

namespace hadal::kernels::ref {
namespace {

// Every head of every row: normalised where there is a weight, then rotated.
Rows prepared(const GqaArgs& args, ConstView x, const float* norm_weight) {
  Rows rows = copied(x);
  for (int64_t r = 0; r < rows.count; ++r) {
    for (int64_t c = 0; c < rows.cols; c += args.head_dim) {
      double* head = rows.row(r) + c;
      if (norm_weight != nullptr) rms_normalise(head, args.head_dim, norm_weight, args.norm_eps);
      rotate(args.rope, r, head);
    }
  }
  return rows;
}

void write_keys_and_values(const GqaArgs& args) {
  const Rows k = prepared(args, args.k, args.k_norm_weight);
  const Rows v = copied(args.v);
  for (const Segment& segment : args.segments) {
    for (int32_t i = 0; i < segment.rows; ++i) {
      const int64_t row = segment.first_row + i;
      write_cache(args.k_cache, segment, segment.position + i, k.row(row));
      write_cache(args.v_cache, segment, segment.position + i, v.row(row));
    }
  }
}

struct History {
  std::vector<std::vector<float>> k, v;  // [position][width]
};

void attend(const GqaArgs& args, const History& history, int64_t position, int32_t head,
            const double* query, float* out) {
  const int64_t kv_head = head / (args.heads / args.kv_heads);
  std::vector<double> weights;
  for (int64_t t = 0; t <= position; ++t) {
    const float* key = history.k[t].data() + kv_head * args.head_dim;
    weights.push_back(args.scale * dot(key, query, args.head_dim));
  }
  softmax(weights);
  for (int32_t c = 0; c < args.v_dim; ++c) {
    double sum = 0;
    for (int64_t t = 0; t <= position; ++t) {
      sum += weights[t] * history.v[t][kv_head * args.v_dim + c];
    }
    out[c] = static_cast<float>(sum);
  }
}

}  // namespace

void gqa(const GqaArgs& args) {
  HADAL_CHECK(args.heads % args.kv_heads == 0);
  HADAL_CHECK(args.k_cache.width == static_cast<int64_t>(args.kv_heads) * args.head_dim);
  HADAL_CHECK(args.v_cache.width == static_cast<int64_t>(args.kv_heads) * args.v_dim);
  HADAL_CHECK(args.rope.dims <= args.head_dim);
  write_keys_and_values(args);
  const Rows q = prepared(args, args.q, args.q_norm_weight);
  for (const Segment& segment : args.segments) {
    History history;
    for (int32_t t = 0; t < segment.position + segment.rows; ++t) {
      history.k.push_back(read_cache(args.k_cache, segment, t));
      history.v.push_back(read_cache(args.v_cache, segment, t));
    }
    for (int32_t i = 0; i < segment.rows; ++i) {
      const int64_t row = segment.first_row + i;
      for (int32_t head = 0; head < args.heads; ++head) {
        attend(args, history, segment.position + i, head,
               q.row(row) + int64_t{head} * args.head_dim,
               args.out.row(row) + int64_t{head} * args.v_dim);
      }
    }
  }
}

}  // namespace hadal::kernels::ref
