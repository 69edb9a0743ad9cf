#include "hadal/kernels/ref/ops.h"
#include "hadal/kernels/ref/rows.h"

namespace hadal::kernels::ref {

void ffn(const FfnArgs& args) {
  const Rows h = normalised(args.x, args.norm_weight, args.norm_eps);
  add_to(args.out, swiglu(of(*args.ffn), 0, h));
}

}  // namespace hadal::kernels::ref
