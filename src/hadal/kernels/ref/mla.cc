#include <algorithm>
#include <vector>

#include "hadal/base/check.h"
#include "hadal/kernels/ref/cache.h"
#include "hadal/kernels/ref/ops.h"
#include "hadal/kernels/ref/rows.h"

namespace hadal::kernels::ref {
namespace {

// [rms_norm(latent) | rope(k_rope)] of every row, into its page.
void write_latents(const MlaArgs& args) {
  Rows kv = copied(args.kv);
  for (const Segment& segment : args.segments) {
    for (int32_t i = 0; i < segment.rows; ++i) {
      const int64_t row = segment.first_row + i;
      rms_normalise(kv.row(row), args.rank, args.kv_norm_weight, args.norm_eps);
      rotate(args.rope, row, kv.row(row) + args.rank);
      write_cache(args.cache, segment, segment.position + i, kv.row(row));
    }
  }
}

// Every head's query in the cache's space: [k_up q_nope | rope(q_rope)].
Rows absorbed_queries(const MlaArgs& args, int32_t head) {
  const int64_t head_dim = args.nope_dim + args.rope.dims;
  const Rows q = copied(args.q.columns(head * head_dim, head_dim));
  const Rows latent =
      multiply(of(*args.k_up), head, copied(args.q.columns(head * head_dim, args.nope_dim)));
  Rows absorbed(q.count, args.cache.width);
  for (int64_t r = 0; r < q.count; ++r) {
    std::copy_n(latent.row(r), args.rank, absorbed.row(r));
    std::copy_n(q.row(r) + args.nope_dim, args.rope.dims, absorbed.row(r) + args.rank);
    rotate(args.rope, r, absorbed.row(r) + args.rank);
  }
  return absorbed;
}

// The softmax-weighted sum of latents for the row at `position`.
void attend(const MlaArgs& args, const std::vector<std::vector<float>>& keys, int64_t position,
            const double* query, double* context) {
  const int64_t first = args.skip_first && position > 0 ? 1 : 0;
  std::vector<double> weights;
  for (int64_t t = first; t <= position; ++t) {
    weights.push_back(args.scale * dot(keys[t].data(), query, args.cache.width));
  }
  softmax(weights);
  for (int64_t t = first; t <= position; ++t) {
    for (int32_t c = 0; c < args.rank; ++c) context[c] += weights[t - first] * keys[t][c];
  }
}

}  // namespace

void mla(const MlaArgs& args) {
  HADAL_CHECK(args.cache.width == args.rank + args.rope.dims);
  if (args.part != MlaPart::kAttend) write_latents(args);
  if (args.part == MlaPart::kStore) return;
  std::vector<std::vector<std::vector<float>>> keys;  // [segment][position][width]
  for (const Segment& segment : args.segments) {
    keys.emplace_back();
    for (int32_t t = 0; t < segment.position + segment.rows; ++t) {
      keys.back().push_back(read_cache(args.cache, segment, t));
    }
  }
  for (int32_t head = 0; head < args.heads; ++head) {
    const Rows queries = absorbed_queries(args, head);
    Rows context(queries.count, args.rank);
    for (size_t s = 0; s < args.segments.size(); ++s) {
      const Segment& segment = args.segments[s];
      for (int32_t i = 0; i < segment.rows; ++i) {
        const int64_t row = segment.first_row + i;
        attend(args, keys[s], segment.position + i, queries.row(row), context.row(row));
      }
    }
    const Rows out = multiply(of(*args.v_up), head, context);
    for (const Segment& segment : args.segments) {
      for (int64_t row = segment.first_row; row < segment.first_row + segment.rows; ++row) {
        float* target = args.out.row(row) + static_cast<int64_t>(head) * args.v_dim;
        for (int32_t c = 0; c < args.v_dim; ++c) target[c] = static_cast<float>(out.row(row)[c]);
      }
    }
  }
}

}  // namespace hadal::kernels::ref
