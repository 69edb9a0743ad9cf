// Tensors in files, whatever the container: a list with names, types, shapes and mapped bytes.
// Everything here has been checked: the bytes lie inside the file, do not overlap another tensor's,
// and are exactly what type and shape need.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hadal/base/file.h"
#include "hadal/base/result.h"
#include "hadal/tensor/dtype.h"

namespace hadal {

struct TensorRecord {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t>
      shape;  // outermost first: [rows, cols], [experts, rows, cols]; last is contiguous
  std::span<const std::byte> data;  // valid while the TensorFile lives
  uint32_t part = 0;                // which file of a split model

  int64_t elements() const;
};

// One or several mapped files and the tensors in them. Immutable; any thread may read.
class TensorFile {
 public:
  TensorFile(std::vector<MappedFile> parts, std::vector<TensorRecord> tensors);

  std::span<const TensorRecord> tensors() const { return tensors_; }
  const TensorRecord* find(std::string_view name) const;  // nullptr when absent
  std::span<const MappedFile> parts() const { return parts_; }
  // See MappedFile::release: a tensor that was packed is not needed from the file again.
  void release(const TensorRecord& tensor) const;
  uint64_t total_bytes() const;  // of all tensors

 private:
  std::vector<MappedFile> parts_;
  std::vector<TensorRecord> tensors_;
  std::unordered_map<std::string_view, size_t> index_;
};

}  // namespace hadal
