// Weights by name and expected shape from either kind of file, ready to be packed.
//
// What may differ between files is settled here: expert stacks in one tensor or one tensor an
// expert, FP8 with its block scales, kv_b joined or split (the three generations of deepseek2
// GGUF), and packing to a smaller type while loading.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <list>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/base/threads.h"
#include "hadal/format/model_files.h"
#include "hadal/kernels/weights.h"
#include "hadal/model/config.h"

namespace hadal {

struct MatrixShape {
  int64_t count = 1;  // parts: experts or heads
  int64_t rows = 0;
  int64_t cols = 0;
};

// A MatrixSource and the memory behind it, when it is not the file's.
struct LoadedMatrix {
  kernels::MatrixSource source;
  std::list<std::vector<std::byte>> owned;
  std::vector<const TensorRecord*> records;  // read from the file, for TensorFile::release
};

enum class MatrixRole : uint8_t { kBody, kHead, kEmbedding };

// What of the files' bytes is read. Names, types and shapes are checked always.
enum class Reading : uint8_t {
  kNothing,  // vectors are empty, scales zero, parts of matrices may be empty spans
  kVectors,  // vectors and scales; parts of matrices may be empty spans
  kAll,
};

class WeightSource {
 public:
  // `quantize` as in LoadOptions; `pool` may be null. `files` must outlive this.
  WeightSource(const ModelFiles& files, std::optional<DType> quantize, ThreadPool* pool,
               Reading reading = Reading::kAll);
  Reading reading() const { return reading_; }

  bool has(std::string_view name) const;
  // kCorrupt: absent, another shape (names tensor, found and expected).
  Result<LoadedMatrix> matrix(std::string_view name, const MatrixShape& shape,
                              MatrixRole role = MatrixRole::kBody) const;
  // As f32, whatever the file holds: a vector, or a matrix [rows, cols].
  Result<std::vector<float>> floats(std::string_view name, int64_t count) const;
  Result<std::vector<float>> floats(std::string_view name, int64_t rows, int64_t cols) const;

  // Per head: k_up [rank, nope] and v_up [v_dim, rank], from attn_k_b and attn_v_b where the file
  // has them, else cut out of attn_kv_b (k_up is its transpose and changes type when that was
  // quantised).
  struct MlaUp {
    LoadedMatrix k_up, v_up;
  };
  Result<MlaUp> mla_up(int32_t layer, int32_t heads, const MlaConfig& mla) const;

  // kUnsupported names a tensor that nothing above asked for: a bias, a norm or a layer more than
  // the configuration says means another model than the one that would answer. After loading.
  Status check_all_read(const ModelConfig& config) const;

  // Of the names that were asked for, in their order.
  uint64_t order_checksum() const { return order_; }

  // The file's pages behind `matrix` are not needed again.
  void release(const LoadedMatrix& matrix) const;
  uint64_t bytes_of(const LoadedMatrix& matrix) const;

 private:
  std::string stored_name(std::string_view name,
                          std::optional<int32_t> expert = std::nullopt) const;
  Result<const TensorRecord*> record(const std::string& name) const;
  Status add_part(const TensorRecord& tensor, const MatrixShape& part, LoadedMatrix* matrix) const;
  Result<LoadedMatrix> file_matrix(std::string_view name, const MatrixShape& shape) const;
  Result<std::vector<float>> fp8_scales(const TensorRecord& tensor, const MatrixShape& part) const;
  Result<MlaUp> split_kv_b(int32_t layer, int32_t heads, const MlaConfig& mla) const;
  // Rewrites `matrix` in the type that `quantize` asks for, where its rows divide into blocks.
  void requantize(MatrixRole role, LoadedMatrix* matrix) const;

  const ModelFiles& files_;
  const TensorFile& tensors_;
  bool hugging_face_;
  std::optional<DType> quantize_;
  ThreadPool* pool_;
  Reading reading_;
  mutable std::unordered_set<const TensorRecord*> read_;  // what record() gave out
  mutable uint64_t order_ = 0;
};

// target[rows * cols] = one part of `source` as f32, FP8 block scales applied.
void decode_part(const kernels::MatrixSource& source, size_t part, int64_t first_row, int64_t rows,
                 float* target);

}  // namespace hadal
