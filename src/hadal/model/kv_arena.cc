#include "hadal/model/kv_arena.h"

#include <cstring>
#include <string>
#include <utility>

namespace hadal {

std::optional<DType> kv_type_from_name(std::string_view name) {
  if (name == "f32") return DType::kF32;
  if (name == "f16") return DType::kF16;
  if (name == "bf16") return DType::kBF16;
  if (name == "int8") return DType::kI8;
  return std::nullopt;
}

std::string_view kv_type_name(DType dtype) {
  return dtype == DType::kI8 ? "int8" : dtype_name(dtype);
}

uint64_t KvLayout::row_bytes(const KvStream& stream) const {
  return kernels::cache_row_bytes(
      {nullptr, dtype, block_tokens, stream.width, stream.parts, stream.fine});
}

uint64_t KvLayout::block_bytes() const {
  uint64_t sum = static_cast<uint64_t>(block_floats) * sizeof(float);
  for (const KvStream& stream : streams) {
    sum += row_bytes(stream) * static_cast<uint64_t>(block_tokens);
  }
  return sum;
}

Result<KvArena> KvArena::make(const KvLayout& layout, int32_t blocks, kernels::Backend& backend) {
  HADAL_CHECK(blocks > 0 && layout.block_tokens > 0);
  KvArena arena;
  arena.layout_ = layout;
  arena.blocks_ = blocks;
  for (const KvStream& stream : layout.streams) {
    HADAL_TRY(auto buffer, backend.allocate(layout.row_bytes(stream) *
                                            static_cast<uint64_t>(layout.block_tokens) *
                                            static_cast<uint64_t>(blocks)));
    arena.buffers_.push_back(std::move(buffer));
  }
  if (layout.block_floats > 0) {
    HADAL_TRY(arena.states_, backend.allocate(static_cast<uint64_t>(layout.block_floats) *
                                              sizeof(float) * static_cast<uint64_t>(blocks)));
  }
  arena.device_ = backend.device();
  return arena;
}

void KvArena::copy_block(int32_t from, int32_t to) {
  HADAL_CHECK(from >= 0 && from < blocks_ && to >= 0 && to < blocks_);
  for (size_t i = 0; i < buffers_.size(); ++i) {
    const uint64_t size =
        layout_.row_bytes(layout_.streams[i]) * static_cast<uint64_t>(layout_.block_tokens);
    std::byte* bytes = buffers_[i]->data();
    std::memcpy(bytes + static_cast<uint64_t>(to) * size,
                bytes + static_cast<uint64_t>(from) * size, size);
  }
}

kernels::CachePages KvArena::pages(size_t stream) const {
  HADAL_CHECK(stream < buffers_.size());
  const KvStream& s = layout_.streams[stream];
  return {buffers_[stream]->data(), layout_.dtype, layout_.block_tokens, s.width, s.parts, s.fine};
}

View KvArena::block_states() const {
  HADAL_CHECK(states_ != nullptr);
  return {reinterpret_cast<float*>(states_->data()), blocks_, layout_.block_floats,
          layout_.block_floats, device_};
}

}  // namespace hadal
