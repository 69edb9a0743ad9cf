#include <algorithm>

#include "hadal/base/check.h"
#include "hadal/kernels/ref/ops.h"
#include "hadal/kernels/ref/weights.h"

namespace hadal::kernels::ref {

void embed(const EmbedArgs& args) {
  const RefMatrix& table = of(*args.table);
  HADAL_CHECK(args.out.rows == static_cast<int64_t>(args.tokens.size()));
  HADAL_CHECK(args.out.cols == table.cols());
  for (int64_t i = 0; i < args.out.rows; ++i) {
    table.decode_row(0, args.tokens[i], args.out.row(i));  // checks the id
  }
}

void gather(const GatherArgs& args) {
  HADAL_CHECK(args.out.rows == static_cast<int64_t>(args.rows.size()));
  HADAL_CHECK(args.out.cols == args.x.cols);
  for (int64_t i = 0; i < args.out.rows; ++i) {
    const int32_t row = args.rows[i];
    HADAL_CHECK(row >= 0 && row < args.x.rows);
    std::copy_n(args.x.row(row), args.x.cols, args.out.row(i));
  }
}

}  // namespace hadal::kernels::ref
