// Rows by number.
//   embed:  out[i] = row tokens[i] of the table, as f32. Ids must be in [0, table.rows()).
//   gather: out[i] = x[rows[i]]. Row numbers must be in [0, x.rows); out must not overlap x.
#pragma once

#include <cstdint>
#include <span>

#include "hadal/kernels/weights.h"
#include "hadal/tensor/view.h"

namespace hadal::kernels {

struct EmbedArgs {
  const Matrix* table;              // [vocabulary, hidden], count 1
  std::span<const int32_t> tokens;  // [n]
  View out;                         // [n, hidden]
};

struct GatherArgs {
  ConstView x;                    // [n, cols]
  std::span<const int32_t> rows;  // [m]
  View out;                       // [m, cols]
};

}  // namespace hadal::kernels
