#include "hadal/model/kv_arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "hadal/base/rng.h"

namespace hadal {
namespace {

// Blocks move whole, whatever a row is made of, and their neighbours stay.
TEST(KvArena, BlocksMoveWhole) {
  constexpr int32_t kBlocks = 5;
  const auto backend = kernels::make_reference_backend();
  for (const char* type : {"f32", "f16", "bf16", "int8"}) {
    SCOPED_TRACE(type);
    KvLayout layout{
        .dtype = *kv_type_from_name(type), .block_tokens = 3, .streams = {}, .block_floats = 7};
    layout.streams = {{.layer = 0, .width = 64, .parts = 2, .fine = 0}, {.layer = 1, .width = 32}};
    auto arena = KvArena::make(layout, kBlocks, *backend);
    ASSERT_TRUE(arena);
    Rng rng(3);
    std::vector<std::vector<std::byte>> blocks(kBlocks);
    for (int32_t i = 0; i < kBlocks; ++i) {
      blocks[i].resize(layout.block_bytes());
      for (std::byte& byte : blocks[i]) byte = static_cast<std::byte>(rng.next());
      arena->copy_in(i, blocks[i]);
    }
    arena->copy_block(1, 3);
    blocks[3] = blocks[1];
    for (int32_t i = 0; i < kBlocks; ++i) {
      std::vector<std::byte> bytes(layout.block_bytes());
      arena->copy_out(i, bytes);
      EXPECT_EQ(bytes, blocks[i]) << i;
    }
    // Streams lie one behind the other, each as its pages say.
    const uint64_t first = layout.row_bytes(layout.streams[0]) * 3;
    EXPECT_EQ(std::memcmp(arena->pages(0).data + 4 * first, blocks[4].data(), first), 0);
    const uint64_t second = layout.row_bytes(layout.streams[1]) * 3;
    EXPECT_EQ(std::memcmp(arena->pages(1).data + 4 * second, blocks[4].data() + first, second), 0);
    const float* states = arena->block_states().row(4);
    EXPECT_EQ(std::memcmp(states, blocks[4].data() + first + second, 7 * sizeof(float)), 0);
  }
}

}  // namespace
}  // namespace hadal
