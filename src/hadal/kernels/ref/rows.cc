#include "hadal/kernels/ref/rows.h"

#include <cmath>

#include "hadal/base/check.h"

namespace hadal::kernels::ref {

Rows copied(ConstView x) {
  Rows rows(x.rows, x.cols);
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; ++c) rows.row(r)[c] = x.row(r)[c];
  }
  return rows;
}

void rms_normalise(double* x, int64_t count, const float* weight, double eps) {
  const double mean = dot(x, x, count) / static_cast<double>(count);
  const double factor = 1.0 / std::sqrt(mean + eps);
  for (int64_t i = 0; i < count; ++i) x[i] *= factor * weight[i];
}

Rows normalised(ConstView x, const float* weight, double eps) {
  Rows rows = copied(x);
  if (weight == nullptr) return rows;
  for (int64_t r = 0; r < rows.count; ++r) rms_normalise(rows.row(r), rows.cols, weight, eps);
  return rows;
}

double dot(const float* a, const double* b, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

double dot(const double* a, const double* b, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

Rows multiply(const RefMatrix& matrix, int64_t part, const Rows& x) {
  HADAL_CHECK(x.cols == matrix.cols());
  Rows y(x.count, matrix.rows());
  std::vector<float> weights(static_cast<size_t>(matrix.cols()));
  for (int64_t r = 0; r < matrix.rows(); ++r) {
    matrix.decode_row(part, r, weights.data());
    for (int64_t i = 0; i < x.count; ++i) y.row(i)[r] = dot(weights.data(), x.row(i), x.cols);
  }
  return y;
}

Rows swiglu(const RefFfn& ffn, int64_t part, const Rows& x) {
  Rows inner = multiply(ffn.gate(), part, x);
  const Rows up = multiply(ffn.up(), part, x);
  for (size_t i = 0; i < inner.values.size(); ++i) {
    const double gate = inner.values[i];
    inner.values[i] = gate / (1.0 + std::exp(-gate)) * up.values[i];
  }
  return multiply(ffn.down(), part, inner);
}

void add_to(View out, const Rows& y) {
  HADAL_CHECK(out.rows == y.count && out.cols == y.cols);
  for (int64_t r = 0; r < out.rows; ++r) {
    for (int64_t c = 0; c < out.cols; ++c) {
      out.row(r)[c] = static_cast<float>(out.row(r)[c] + y.row(r)[c]);
    }
  }
}

}  // namespace hadal::kernels::ref
