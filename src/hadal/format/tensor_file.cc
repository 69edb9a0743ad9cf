#include "hadal/format/tensor_file.h"

#include "hadal/base/check.h"

namespace hadal {

int64_t TensorRecord::elements() const {
  int64_t product = 1;
  for (const int64_t extent : shape) product *= extent;
  return product;
}

TensorFile::TensorFile(std::vector<MappedFile> parts, std::vector<TensorRecord> tensors)
    : parts_(std::move(parts)), tensors_(std::move(tensors)) {
  // The names' bytes stay where they are when this object is moved: the vector moves as a whole.
  index_.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const bool unique = index_.emplace(tensors_[i].name, i).second;
    HADAL_CHECK(unique, "two tensors named " + tensors_[i].name);
  }
}

const TensorRecord* TensorFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

void TensorFile::release(const TensorRecord& tensor) const {
  if (parts_.empty()) return;  // bytes in memory, not a file
  HADAL_CHECK(tensor.part < parts_.size(), tensor.name);
  const MappedFile& part = parts_[tensor.part];
  const auto offset = static_cast<size_t>(tensor.data.data() - part.bytes().data());
  part.release(offset, tensor.data.size());
}

uint64_t TensorFile::total_bytes() const {
  uint64_t total = 0;
  for (const TensorRecord& tensor : tensors_) total += tensor.data.size();
  return total;
}

}  // namespace hadal
