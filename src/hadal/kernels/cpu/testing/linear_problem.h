// One projection of random weights and activations, for benchmarks and their smoke test.
#pragma once

#include <memory>
#include <vector>

#include "hadal/base/rng.h"
#include "hadal/base/threads.h"
#include "hadal/kernels/cpu/matmul.h"

namespace hadal::kernels::cpu {

inline std::vector<std::byte> random_weight_bytes(uint64_t count) {
  Rng rng(1);
  std::vector<std::byte> bytes(count);
  // No half among them is infinite, NaN or subnormal, nor is a product of scales.
  for (std::byte& b : bytes) b = static_cast<std::byte>(0x20 | (rng.next() & 0x1F));
  return bytes;
}

inline std::vector<float> random_activations(int64_t count) {
  Rng rng(2);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(rng.uniform() - 0.5);
  return values;
}

// `parts` matrices that share their bytes.
inline MatrixSource shared_source(DType dtype, int64_t rows, int64_t cols, int64_t parts,
                                  const std::vector<std::byte>& bytes) {
  MatrixSource result;
  result.dtype = dtype;
  result.rows = rows;
  result.cols = cols;
  const uint64_t size = static_cast<uint64_t>(rows) * row_bytes(dtype, cols);
  for (int64_t i = 0; i < parts; ++i) {
    result.parts.push_back(std::span(bytes).first(size));
    if (dtype != DType::kF8E4M3) continue;
    result.fp8_scales.emplace_back((rows + 127) / 128 * ((cols + 127) / 128), 1.0f);
  }
  return result;
}

class LinearProblem {
 public:
  LinearProblem(DType dtype, int64_t rows, int64_t cols, int64_t n, ThreadPool& pool, Isa isa)
      : context_(pool, isa), x_(random_activations(n * cols)) {
    const std::vector<std::byte> bytes = random_weight_bytes(row_bytes(dtype, rows * cols));
    matrix_ = std::move(*PackedMatrix::make(shared_source(dtype, rows, cols, 1, bytes), pool));
    out_.resize(static_cast<size_t>(n * rows));
    args_.x = View{x_.data(), n, cols, cols};
    args_.projections[0] = {matrix_.get(), nullptr, {out_.data(), n, rows, rows}, false};
    args_.projection_count = 1;
    operations_ = 2.0 * static_cast<double>(n * rows * cols);
  }

  void run() { linear(context_, args_); }
  const std::vector<float>& out() const { return out_; }
  double bytes() const { return static_cast<double>(matrix_->bytes()); }  // of weights
  double operations() const { return operations_; }

 private:
  CpuContext context_;
  std::vector<float> x_, out_;
  std::unique_ptr<PackedMatrix> matrix_;
  LinearArgs args_;
  double operations_ = 0;
};

}  // namespace hadal::kernels::cpu
