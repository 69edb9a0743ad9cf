// Where accumulators of a panel go.
#pragma once

#include <algorithm>
#include <cstdint>

#include "hadal/kernels/cpu/kernels.h"
#include "hadal/tensor/view.h"

namespace hadal::kernels::cpu {

// out[first_row + c][16 panel + r] = (add ? itself : 0) + (acc[c][r] + bias[16 panel + r]).
inline void store_panel(const KernelTable& kernels, const float* acc, int32_t columns,
                        int64_t panel, const float* bias, bool add, int64_t first_row, View out) {
  const int64_t begin = panel * kPanelRows;
  kernels.store_panel(acc, columns, std::min(kPanelRows, out.cols - begin),
                      bias != nullptr ? bias + begin : nullptr, add, out.row(first_row) + begin,
                      out.stride);
}

}  // namespace hadal::kernels::cpu
