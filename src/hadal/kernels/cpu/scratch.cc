#include "hadal/kernels/cpu/scratch.h"

#include <algorithm>

namespace hadal::kernels::cpu {

void Scratch::add_chunk(size_t bytes) {
  const size_t last = chunks_.empty() ? kFirstChunk / 2 : chunks_.back().size;
  const size_t size = std::max(bytes, 2 * last);
  auto* data = static_cast<std::byte*>(::operator new (size, std::align_val_t{kAlignment}));
  chunks_.push_back({std::unique_ptr<std::byte, Free>(data), size});
}

void* Scratch::take_bytes(size_t bytes) {
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (chunks_.empty()) add_chunk(bytes);
  while (chunks_[chunk_].size - used_ < bytes) {
    if (chunk_ + 1 == chunks_.size()) add_chunk(bytes);
    ++chunk_;
    used_ = 0;
  }
  void* result = chunks_[chunk_].data.get() + used_;
  used_ += bytes;
  return result;
}

void Scratch::rewind(size_t chunk, size_t used) {
  chunk_ = chunk;
  used_ = used;
  if (chunk != 0 || used != 0 || chunks_.size() < 2) return;
  // Empty: one chunk that holds what several did.
  size_t total = 0;
  for (const Chunk& c : chunks_) total += c.size;
  chunks_.clear();
  add_chunk(total);
}

}  // namespace hadal::kernels::cpu
