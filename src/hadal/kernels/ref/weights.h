// The reference's weights: the file's own bytes, decoded row by row when they are used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/kernels/weights.h"

namespace hadal::kernels::ref {

class RefMatrix final : public Matrix {
 public:
  // kUnsupported: a type without a decoder. Sizes that disagree are a bug of the caller.
  static Result<std::unique_ptr<RefMatrix>> make(const MatrixSource& source);

  // target[0, cols) = row `row` of part `part`, FP8 block scales applied.
  void decode_row(int64_t part, int64_t row, float* target) const;

 private:
  explicit RefMatrix(const MatrixSource& source);
  std::vector<std::vector<std::byte>> parts_;
  std::vector<std::vector<float>> fp8_scales_;
};

class RefFfn final : public Ffn {
 public:
  static Result<std::unique_ptr<RefFfn>> make(const MatrixSource& gate, const MatrixSource& up,
                                              const MatrixSource& down);
  const RefMatrix& gate() const { return *gate_; }
  const RefMatrix& up() const { return *up_; }
  const RefMatrix& down() const { return *down_; }

 private:
  RefFfn(std::unique_ptr<RefMatrix> gate, std::unique_ptr<RefMatrix> up,
         std::unique_ptr<RefMatrix> down);
  std::unique_ptr<RefMatrix> gate_, up_, down_;
};

// Weights packed by another backend are a bug of the caller: checked.
const RefMatrix& of(const Matrix& matrix);
const RefFfn& of(const Ffn& ffn);

}  // namespace hadal::kernels::ref
