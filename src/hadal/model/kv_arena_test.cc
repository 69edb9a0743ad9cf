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
      const int32_t entries = i % 4;
      std::memcpy(&blocks[i][blocks[i].size() - sizeof entries], &entries, sizeof entries);
      arena->copy_in(i, blocks[i]);
    }
    arena->copy_block(1, 3);
    blocks[3] = blocks[1];
    for (int32_t i = 0; i < kBlocks; ++i) {
      std::vector<std::byte> bytes(layout.block_bytes());
      arena->copy_out(i, bytes);
      EXPECT_EQ(bytes, blocks[i]) << i;
      EXPECT_EQ(arena->entries(i), i == 3 ? 1 : i % 4);
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

struct Written {
  bool entries;  // or rows
  int32_t position, count;
  std::vector<int32_t> expected;  // entries of each block of the text
};

// Blocks of 4 positions; the text's are 2, 0, 1.
TEST(KvArena, CountsTheEntriesThatTheTextHas) {
  const auto backend = kernels::make_reference_backend();
  KvLayout layout{.dtype = DType::kF32, .block_tokens = 4, .streams = {}, .block_floats = 1};
  layout.streams = {{.layer = 0, .width = 4}};
  auto arena = KvArena::make(layout, 3, *backend);
  ASSERT_TRUE(arena);
  const std::vector<int32_t> blocks = {2, 0, 1};
  constexpr bool kRows = false;
  constexpr bool kEntries = true;
  const Written steps[] = {
      {kRows, 0, 6, {0, 0, 0}},
      {kEntries, 1, 6, {4, 3, 0}},  // a guess among them, or the next token
      {kRows, 6, 1, {4, 3, 0}},     // its row: the entry stands
      {kEntries, 7, 3, {4, 4, 2}},
      {kRows, 7, 1, {4, 4, 2}},  // the next block is not touched
      {kRows, 8, 1, {4, 4, 0}},  // its first entry may be of an earlier text
      {kEntries, 8, 2, {4, 4, 2}},
      {kRows, 9, 3, {4, 4, 2}},
      {kEntries, 11, 1, {4, 4, 2}},  // behind a gap
      {kEntries, 10, 1, {4, 4, 3}},
      {kRows, 2, 1, {3, 4, 3}},  // back, as after a wrong guess
      {kRows, 3, 2, {3, 0, 3}},
      {kEntries, 4, 4, {3, 4, 3}},  // begins behind a gap with a block
      {kRows, 0, 12, {0, 0, 0}},    // another text
      {kEntries, 2, 2, {0, 0, 0}},
  };
  for (size_t i = 0; i < std::size(steps); ++i) {
    const kernels::Segment segment{0, steps[i].count, steps[i].position, blocks};
    steps[i].entries ? arena->entries_written(segment) : arena->rows_written(segment);
    for (size_t b = 0; b < blocks.size(); ++b) {
      EXPECT_EQ(arena->entries(blocks[b]), steps[i].expected[b]) << "step " << i << " block " << b;
    }
  }
}

// A file's bytes may be anything.
TEST(KvArena, ACountThatCannotBeIsBounded) {
  const auto backend = kernels::make_reference_backend();
  KvLayout layout{.dtype = DType::kF32, .block_tokens = 4, .streams = {}, .block_floats = 1};
  layout.streams = {{.layer = 0, .width = 4}};
  auto arena = KvArena::make(layout, 1, *backend);
  ASSERT_TRUE(arena);
  std::vector<std::byte> bytes(layout.block_bytes(), std::byte{0xff});
  arena->copy_in(0, bytes);
  EXPECT_EQ(arena->entries(0), 0);
  bytes.back() = std::byte{0x7f};
  arena->copy_in(0, bytes);
  EXPECT_EQ(arena->entries(0), 4);
}

}  // namespace
}  // namespace hadal
