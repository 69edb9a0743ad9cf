// Memory for the rows of a step.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/kernels/backend.h"
#include "hadal/tensor/view.h"

namespace hadal {

// Activations, taken once for the largest batch. Widths are the widest that any layer needs.
struct Activations {
  std::vector<std::unique_ptr<kernels::Buffer>> buffers;
  View x, q_a, q, kv, v, attended, selected, logits;
  View before, pair;            // a next-token layer's: hidden states, and its projection's input
  std::vector<float> cos, sin;  // [rows, dims / 2]
  std::vector<kernels::Greatest> greatest;  // [rows of logits]

  Status add(kernels::Backend& backend, int64_t rows, int64_t cols, View* view) {
    if (cols == 0) return {};
    const int64_t stride = spread_stride(cols);
    HADAL_TRY(auto buffer, backend.allocate(static_cast<uint64_t>(rows * stride) * sizeof(float)));
    *view = {reinterpret_cast<float*>(buffer->data()), rows, cols, stride, backend.device()};
    buffers.push_back(std::move(buffer));
    return {};
  }
};

}  // namespace hadal
