#include "hadal/base/check.h"
#include "hadal/kernels/ref/ops.h"
#include "hadal/kernels/ref/rows.h"

namespace hadal::kernels::ref {

void rms_norm(const RmsNormArgs& args) {
  HADAL_CHECK(args.out.rows == args.x.rows && args.out.cols == args.x.cols);
  const Rows y = normalised(args.x, args.weight, args.eps);
  for (int64_t r = 0; r < y.count; ++r) {
    for (int64_t c = 0; c < y.cols; ++c) args.out.row(r)[c] = static_cast<float>(y.row(r)[c]);
  }
}

namespace {

Greatest greatest(ConstView x, int64_t row) {
  Greatest best;
  for (int64_t c = 0; c < x.cols; ++c) {
    if (x.row(row)[c] > best.value) best = {x.row(row)[c], static_cast<int32_t>(c)};
  }
  return best;
}

}  // namespace

void linear(const LinearArgs& args) {
  HADAL_CHECK(args.projection_count >= 1 && args.projection_count <= 4);
  const Rows h = normalised(args.x, args.norm_weight, args.norm_eps);  // a copy: out may be x
  for (int p = 0; p < args.projection_count; ++p) {
    const Projection& projection = args.projections[p];
    const View out = projection.out;
    const Rows y = multiply(of(*projection.weight), 0, h);
    HADAL_CHECK(out.rows == y.count && out.cols == y.cols);
    for (int64_t r = 0; r < y.count; ++r) {
      for (int64_t c = 0; c < y.cols; ++c) {
        const double before = projection.add ? out.row(r)[c] : 0.0;
        const double bias = projection.bias != nullptr ? projection.bias[c] : 0.0;
        out.row(r)[c] = static_cast<float>(before + y.row(r)[c] + bias);
      }
      if (p == 0 && args.greatest != nullptr) args.greatest[r] = greatest(out, r);
    }
  }
}

}  // namespace hadal::kernels::ref
