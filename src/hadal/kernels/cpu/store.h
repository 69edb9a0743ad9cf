// Where accumulators of a panel go.
#pragma once

#include <algorithm>
#include <cstdint>

#include "hadal/kernels/cpu/kernels.h"
#include "hadal/tensor/view.h"

namespace hadal::kernels::cpu {

// out[first_row + c][16 panel + r] = (add ? itself : 0) + (acc[c][r] + bias[16 panel + r]).
inline void store_panel(const float* acc, int32_t columns, int64_t panel, const float* bias,
                        bool add, int64_t first_row, View out) {
  const int64_t begin = panel * kPanelRows;
  const int64_t width = std::min(kPanelRows, out.cols - begin);
  for (int32_t c = 0; c < columns; ++c) {
    float* target = out.row(first_row + c) + begin;
    const float* source = acc + c * kPanelRows;
    for (int64_t r = 0; r < width; ++r) {
      const float y = bias != nullptr ? source[r] + bias[begin + r] : source[r];
      target[r] = add ? target[r] + y : y;
    }
  }
}

}  // namespace hadal::kernels::cpu
