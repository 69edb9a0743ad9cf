#include "hadal/model/kv_arena.h"

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

kernels::CachePages KvArena::pages(size_t stream) const {
  HADAL_CHECK(stream < buffers_.size());
  return {buffers_[stream]->data(), layout_.dtype, layout_.block_tokens,
          layout_.streams[stream].width};
}

}  // namespace hadal
