// Up to four projections of one input, behind an optional RMS norm:
//   h = norm_weight ? rms_norm(x) : x            rms_norm(x)_i = x_i / sqrt(mean(x^2) + eps) *
//   weight_i for each projection: out = (add ? out : 0) + W h + bias
// Weights in a float type meet h in f32 (dot products accumulated in f32 or better). Quantised
// weights may meet h rounded to int8 with one scale for 32 columns, those with super-blocks (Q2_K
// to Q6_K) for 256: that rounding depends on the row alone.
//
// Batch rule: row i of every output is the same bits whatever other rows are in x.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

#include "hadal/kernels/weights.h"
#include "hadal/tensor/view.h"

namespace hadal::kernels {

struct Projection {
  const Matrix* weight = nullptr;  // [out.cols, x.cols], count 1
  const float* bias = nullptr;     // [out.cols] or null
  View out;          // [n, rows]; must not overlap x unless `add` and the op has no other reader
  bool add = false;  // the residual: out += ...
};

// The greatest number of a row and where it first stands. NaN counts as -infinity; of nothing
// greater than that: -infinity at -1.
struct Greatest {
  float value = -std::numeric_limits<float>::infinity();
  int32_t index = -1;
};

struct LinearArgs {
  ConstView x;                         // [n, cols]
  const float* norm_weight = nullptr;  // [cols] or null: no norm
  float norm_eps = 0.0f;
  std::array<Projection, 4> projections;
  int projection_count = 0;
  // [n] or null: of each row of the first projection's output, which who chooses tokens greedily
  // need not read at all then.
  Greatest* greatest = nullptr;
};

struct RmsNormArgs {
  ConstView x;          // [n, cols]
  const float* weight;  // [cols]
  float eps;
  View out;  // [n, cols], may be x itself
};

}  // namespace hadal::kernels
