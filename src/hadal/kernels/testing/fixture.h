// What the kernel tests share: random weights of every type, and the implementations of this
// machine.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "hadal/base/rng.h"
#include "hadal/base/threads.h"
#include "hadal/kernels/backend.h"

namespace hadal::kernels::testing {

// A source with the bytes that it points at.
struct Weights {
  MatrixSource source;
  std::vector<std::vector<std::byte>> parts;
  std::vector<std::vector<float>> values;  // what the bytes decode to, [rows, cols] a part
};

// Uniform in [-spread, spread], rounded to `dtype`; FP8 gets block scales that differ widely.
Weights make_weights(DType dtype, int64_t rows, int64_t cols, int64_t count, float spread,
                     uint64_t seed);
// The given values, one part, as f32.
Weights exact_weights(int64_t rows, int64_t cols, std::vector<float> values);

// [rows, cols], row-major and tight.
struct Activations {
  Activations(int64_t rows, int64_t cols)
      : rows(rows), cols(cols), values(static_cast<size_t>(rows * cols)) {}
  View view() { return {values.data(), rows, cols, cols, Device::kCpu}; }
  ConstView view() const { return {values.data(), rows, cols, cols, Device::kCpu}; }
  float* row(int64_t r) { return values.data() + r * cols; }
  const float* row(int64_t r) const { return values.data() + r * cols; }

  int64_t rows, cols;
  std::vector<float> values;
};
// Uniform in [-spread, spread]; every eighth column 4 times as large, as real activations have
// outliers.
Activations make_activations(int64_t rows, int64_t cols, float spread, uint64_t seed);

// x with the errors that an implementation may make when it takes x in: rounding to int8 by blocks
// of 32 for quantised weights; for float weights, the relative error that a sum of `cols` floats
// gathers.
Activations disturbed(const Activations& x, bool quantized, uint64_t seed);

// A backend with the pool that it runs on.
struct Implementation {
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<Backend> backend;
};
Implementation make_implementation(const std::string& name, int threads);
// Those that this machine can run; the reference, which is last, too if asked for.
std::vector<std::string> implementations(bool with_reference);

// The implementation that the parameter names, on three threads, and the reference.
class AgainstReference : public ::testing::TestWithParam<std::string> {
 protected:
  AgainstReference() : made_(make_implementation(GetParam(), 3)), ref_(make_reference_backend()) {}
  Backend& backend() { return *made_.backend; }
  Backend& ref() { return *ref_; }

 private:
  Implementation made_;
  std::unique_ptr<Backend> ref_;
};

std::unique_ptr<Matrix> pack(Backend& backend, const Weights& weights);

// Every type that weights can have.
std::vector<DType> weight_types();

}  // namespace hadal::kernels::testing
