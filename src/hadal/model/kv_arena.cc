#include "hadal/model/kv_arena.h"

#include <cstring>
#include <string>
#include <utility>

namespace hadal {

uint64_t KvLayout::block_bytes() const {
  uint64_t sum = 0;
  for (const KvStream& stream : streams) {
    sum +=
        row_bytes(dtype, static_cast<uint64_t>(stream.width)) * static_cast<uint64_t>(block_tokens);
  }
  return sum;
}

Result<KvArena> KvArena::make(const KvLayout& layout, int32_t blocks, kernels::Backend& backend) {
  HADAL_CHECK(blocks > 0 && layout.block_tokens > 0);
  KvArena arena;
  arena.layout_ = layout;
  arena.blocks_ = blocks;
  for (const KvStream& stream : layout.streams) {
    const uint64_t row = row_bytes(layout.dtype, static_cast<uint64_t>(stream.width));
    HADAL_TRY(auto buffer, backend.allocate(row * static_cast<uint64_t>(layout.block_tokens) *
                                            static_cast<uint64_t>(blocks)));
    arena.buffers_.push_back(std::move(buffer));
  }
  return arena;
}

void KvArena::copy_block(int32_t from, int32_t to) {
  HADAL_CHECK(from >= 0 && from < blocks_ && to >= 0 && to < blocks_);
  for (size_t i = 0; i < buffers_.size(); ++i) {
    const uint64_t size =
        row_bytes(layout_.dtype, static_cast<uint64_t>(layout_.streams[i].width)) *
        static_cast<uint64_t>(layout_.block_tokens);
    std::byte* bytes = buffers_[i]->data();
    std::memcpy(bytes + static_cast<uint64_t>(to) * size,
                bytes + static_cast<uint64_t>(from) * size, size);
  }
}

kernels::CachePages KvArena::pages(size_t stream) const {
  HADAL_CHECK(stream < buffers_.size());
  return {buffers_[stream]->data(), layout_.dtype, layout_.block_tokens,
          layout_.streams[stream].width};
}

}  // namespace hadal
