// Intermediate values of the reference: matrices of double, and the few formulas that operations
// share.
#pragma once

#include <cstdint>
#include <vector>

#include "hadal/kernels/ref/weights.h"
#include "hadal/tensor/view.h"

namespace hadal::kernels::ref {

struct Rows {
  Rows(int64_t row_count, int64_t col_count)
      : count(row_count), cols(col_count), values(static_cast<size_t>(row_count * col_count)) {}
  double* row(int64_t r) { return values.data() + r * cols; }
  const double* row(int64_t r) const { return values.data() + r * cols; }

  int64_t count, cols;
  std::vector<double> values;
};

// x in double.
Rows copied(ConstView x);

// x[0, count) becomes x_i / sqrt(mean(x^2) + eps) * weight_i.
void rms_normalise(double* x, int64_t count, const float* weight, double eps);

// rms_norm of every row, or a copy where `weight` is null.
Rows normalised(ConstView x, const float* weight, double eps);

double dot(const float* a, const double* b, int64_t count);
double dot(const double* a, const double* b, int64_t count);

// y[i] = W x[i] for every row, W being part `part` of the stack.
Rows multiply(const RefMatrix& matrix, int64_t part, const Rows& x);

// down(silu(gate x) * (up x)) of part `part`.
Rows swiglu(const RefFfn& ffn, int64_t part, const Rows& x);

// out += y, rounded to float once.
void add_to(View out, const Rows& y);

}  // namespace hadal::kernels::ref
