#include "hadal/model/kv_arena.h"

#include <algorithm>
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

uint64_t KvLayout::block_bytes(const KvStream& stream) const {
  return row_bytes(stream) * static_cast<uint64_t>(block_tokens);
}

uint64_t KvLayout::block_bytes() const {
  uint64_t sum = layer_bytes();
  for (const KvStream& stream : streams) sum += block_bytes(stream);
  return sum;
}

Result<KvArena> KvArena::make(const KvLayout& layout, int32_t blocks, kernels::Backend& backend) {
  HADAL_CHECK(blocks > 0 && layout.block_tokens > 0);
  KvArena arena;
  arena.layout_ = layout;
  arena.blocks_ = blocks;
  for (const KvStream& stream : layout.streams) {
    HADAL_TRY(auto buffer,
              backend.allocate(layout.block_bytes(stream) * static_cast<uint64_t>(blocks)));
    arena.buffers_.push_back(std::move(buffer));
  }
  if (layout.block_floats > 0) {
    HADAL_TRY(arena.states_,
              backend.allocate(layout.state_bytes() * static_cast<uint64_t>(blocks)));
    arena.entries_.resize(static_cast<size_t>(blocks));
  }
  arena.device_ = backend.device();
  return arena;
}

template <typename Visit>
void KvArena::each_part(const Visit& visit) const {
  for (size_t i = 0; i < buffers_.size(); ++i) {
    visit(layout_.block_bytes(layout_.streams[i]), buffers_[i]->data());
  }
  if (states_ != nullptr) visit(layout_.state_bytes(), states_->data());
}

int32_t KvArena::entries(int32_t block) const { return entries_[static_cast<size_t>(block)]; }

// An entry is of its own token and of the row before: that of the first new row stands, unless the
// block begins with it, and may be of an earlier use of the block.
void KvArena::rows_written(const kernels::Segment& segment) {
  const int32_t size = layout_.block_tokens;
  const int32_t end = segment.position + segment.rows;
  for (int32_t begin = segment.position / size * size; begin < end; begin += size) {
    int32_t& count = entries_[static_cast<size_t>(segment.blocks[begin / size])];
    count = begin < segment.position ? std::min(count, segment.position + 1 - begin) : 0;
  }
}

// Those behind a gap do not count.
void KvArena::entries_written(const kernels::Segment& segment) {
  const int32_t size = layout_.block_tokens;
  const int32_t end = segment.position + segment.rows;
  for (int32_t begin = segment.position / size * size; begin < end; begin += size) {
    int32_t& count = entries_[static_cast<size_t>(segment.blocks[begin / size])];
    // Nothing stands at the text's first position.
    const int32_t first = segment.position == 1 ? 0 : std::max(begin, segment.position);
    if (first - begin <= count) count = std::max(count, std::min(end - begin, size));
  }
}

void KvArena::copy_block(int32_t from, int32_t to) {
  HADAL_CHECK(from >= 0 && from < blocks_ && to >= 0 && to < blocks_);
  each_part([&](uint64_t size, std::byte* part) {
    std::memcpy(part + static_cast<uint64_t>(to) * size, part + static_cast<uint64_t>(from) * size,
                size);
  });
  if (!entries_.empty()) entries_[static_cast<size_t>(to)] = entries(from);
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

void KvArena::copy_out(int32_t block, std::span<std::byte> bytes) const {
  HADAL_CHECK(block >= 0 && block < blocks_ && bytes.size() == layout_.block_bytes());
  each_part([&](uint64_t size, std::byte* part) {
    std::memcpy(bytes.data(), part + static_cast<uint64_t>(block) * size, size);
    bytes = bytes.subspan(size);
  });
  if (!entries_.empty()) std::memcpy(bytes.data(), &entries_[block], sizeof(int32_t));
}

void KvArena::copy_in(int32_t block, std::span<const std::byte> bytes) {
  HADAL_CHECK(block >= 0 && block < blocks_ && bytes.size() == layout_.block_bytes());
  each_part([&](uint64_t size, std::byte* part) {
    std::memcpy(part + static_cast<uint64_t>(block) * size, bytes.data(), size);
    bytes = bytes.subspan(size);
  });
  if (entries_.empty()) return;
  int32_t count = 0;
  std::memcpy(&count, bytes.data(), sizeof(count));
  entries_[static_cast<size_t>(block)] = std::clamp(count, 0, layout_.block_tokens);
}

}  // namespace hadal
