// Weights in whatever layout a backend's kernels like best. Opaque above kernels: a CPU packs rows
// into interleaved panels, a GPU uploads tiles; model code only hands them back to operations.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/tensor/dtype.h"

namespace hadal::kernels {

// Memory for packed weights that is not the backend's own: a file that holds them packed already,
// or that is being written. A model's matrices are packed in one fixed order, so the n-th take()
// means the same matrix every time.
class WeightMemory {
 public:
  struct Extent {
    std::byte* data =
        nullptr;          // aligned to 4096 bytes; null: only sizes are wanted, nothing will be run
    bool packed = false;  // holds the packed bytes already, and must not be written
  };
  virtual ~WeightMemory() = default;
  // Lives as long as this object says, which is longer than what is packed into it.
  virtual Result<Extent> take(uint64_t bytes) = 0;
};

// `parts.size()` matrices of one shape (experts, heads; 1 for a plain matrix), each [rows, cols]
// row-major in the file's own type: row r of a part is the weights of output r. The bytes are only
// read during pack, and not at all (a part may be an empty span) when its memory is packed already.
struct MatrixSource {
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;                               // multiple of the type's block
  std::vector<std::span<const std::byte>> parts;  // each rows * row_bytes(dtype, cols) bytes
  // kF8E4M3 only: one scale per 128x128 block, [ceil(rows/128), ceil(cols/128)] f32 per part.
  std::vector<std::vector<float>> fp8_scales;
};

// y = W x for a stack of equal matrices.
class Matrix {
 public:
  virtual ~Matrix() = default;
  int64_t count() const { return count_; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  DType source_dtype() const { return dtype_; }
  uint64_t bytes() const { return bytes_; }  // of memory held by the packed form

 protected:
  Matrix(int64_t count, int64_t rows, int64_t cols, DType dtype)
      : count_(count), rows_(rows), cols_(cols), dtype_(dtype) {}
  int64_t count_, rows_, cols_;
  DType dtype_;
  uint64_t bytes_ = 0;
};

// SwiGLU: down(silu(gate x) * (up x)), `count()` of them (experts), packed together so that a
// backend may lay one expert out as a single extent. gate, up: [inner, hidden]; down: [hidden,
// inner].
class Ffn {
 public:
  virtual ~Ffn() = default;
  int64_t count() const { return count_; }
  int64_t hidden() const { return hidden_; }
  int64_t inner() const { return inner_; }
  uint64_t bytes() const { return bytes_; }

 protected:
  Ffn(int64_t count, int64_t hidden, int64_t inner)
      : count_(count), hidden_(hidden), inner_(inner) {}
  int64_t count_, hidden_, inner_;
  uint64_t bytes_ = 0;
};

// What expands cached latents to the keys and values of heads: MlaArgs::naive.
class Expansion {
 public:
  virtual ~Expansion() = default;
  uint64_t bytes() const { return bytes_; }

 protected:
  uint64_t bytes_ = 0;
};

}  // namespace hadal::kernels
