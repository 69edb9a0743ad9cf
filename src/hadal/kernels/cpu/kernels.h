// The functions compiled once for each instruction set, and what they exchange.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "hadal/kernels/cpu/matmul.h"
#include "hadal/kernels/op/linear.h"
#include "hadal/tensor/dtype.h"

namespace hadal::kernels::cpu {

inline constexpr int64_t kPanelRows = 16;
inline constexpr int64_t kBlock = 32;  // columns of an integer block
// Columns (rows of activations) of a tile: with their accumulators they stay in the first-level
// cache while one block of a panel passes over them.
inline constexpr int32_t kTileColumns = 64;

// 32 activations as int8: value = scale * code, scale = largest magnitude / 127, computed from
// these 32 numbers alone. A NaN among them makes the scale NaN.
struct ActBlock {
  int8_t codes[32];
  float scale;
  float scaled_sum;      // scale * sum of codes
  int32_t negative_sum;  // -sum of codes
};
static_assert(sizeof(ActBlock) == 44);

inline constexpr int64_t kSuperColumns = 256;   // columns of a super-block
inline constexpr int64_t kQuarterColumns = 64;  // that share an ActQuarter
// What magnitudes of 16 codes of a super-block add up to at most.
inline constexpr int32_t kSuperMost = 1023;

// 64 of the 256 activations of a super-block as int8: value = scale * code, scale = largest
// magnitude of the 256 / levels. levels is 127, or the less of it that keeps each 16 codes within
// kSuperMost (63 at least: 16 equal numbers). Computed from these 256 numbers alone. A NaN among
// them makes the scale NaN.
struct ActQuarter {
  int8_t codes[64];
  int32_t negative_sums[4];  // -sum of codes[16 i, 16 i + 16)
  int16_t sums[4];           // of codes[16 i, 16 i + 16)
  int16_t block_sums[2];     // of codes[32 i, 32 i + 32)
  float scale;               // the same in all four quarters
};
static_assert(sizeof(ActQuarter) == 96);

// Where the parts of a panel of integer codes lie, in bytes.
struct PanelStride {
  uint64_t super = 0;   // from a super-block's first byte to that of the panel's next
  uint64_t blocks = 0;  // from there to its first block, behind the super-block's header
  uint64_t block = 0;   // from a block to the super-block's next
  uint64_t codes = 0;   // from a block, which begins with its header, to its codes
};
// A panel of integer codes times a tile: acc[c][r] = sum over k of w[r][k] x[c][k].
// tile: [cols / 32][columns], acc: [columns][16] (overwritten), columns in [1, kTileColumns].
using IntKernel = void (*)(const std::byte* panel, const PanelStride& stride, int64_t cols,
                           const ActBlock* tile, int32_t columns, float* acc);
// Two partners (panel.h).
struct PanelPair {
  const std::byte* first;  // of the two: all of both lies behind it
  const std::byte* next;   // what will be read after them: prefetched towards the end
};
// Each panel's accumulators as IntKernel gives them.
using IntPairKernel = void (*)(const PanelPair& pair, int64_t cols, const ActBlock* tile,
                               int32_t columns, float* acc_first, float* acc_second);
// The same for types with super-blocks of 256 columns. tile: [cols / 64][columns].
using SuperKernel = void (*)(const std::byte* panel, const PanelStride& stride, int64_t cols,
                             const ActQuarter* tile, int32_t columns, float* acc);
using SuperPairKernel = void (*)(const PanelPair& pair, int64_t cols, const ActQuarter* tile,
                                 int32_t columns, float* acc_first, float* acc_second);
// The same for float weights. rows[c]: x of column c, [padded_cols]; scales: FP8's, one per 128
// columns. Where the table says reads_rounded, the row in BF16 stands behind the floats.
using FloatKernel = void (*)(const std::byte* panel, const float* scales, int64_t padded_cols,
                             const float* const* rows, int32_t columns, float* acc);

inline constexpr int kDotRows = 4;

// One row of a batch, and how much of an expert's output it takes.
struct RowWeight {
  int32_t row;
  float weight;
};

struct KernelTable {
  Isa isa;
  std::string_view name;
  // Plain arrays: the tables are filled inside the regions.
  IntKernel integer[kDTypeCount];  // null: not an integer form
  IntPairKernel integer_pair[kDTypeCount];
  SuperKernel super[kDTypeCount];  // null: not of super-blocks
  SuperPairKernel super_pair[kDTypeCount];
  FloatKernel floating[kDTypeCount];  // null: not a float form

  // Kernels of BF16 and FP8 read activations rounded to BF16, which round_row writes; else it does
  // nothing.
  bool reads_rounded;
  void (*round_row)(const float* x, int64_t count, uint16_t* out);
  // x [cols] to cols / 32 blocks, `stride` apart.
  void (*quantize_row)(const float* x, int64_t cols, ActBlock* out, int64_t stride);
  // x [cols] to cols / 64 quarters, `stride` apart; cols is a multiple of 256.
  void (*quantize_supers)(const float* x, int64_t cols, ActQuarter* out, int64_t stride);
  // out may be x. Sum of squares: 64 interleaved partial sums, then a tree.
  void (*rms_norm_row)(const float* x, const float* weight, float eps, int64_t cols, float* out);
  // out_i = gate_i / (1 + exp(-gate_i)) * up_i; out may be gate.
  void (*silu_multiply)(const float* gate, const float* up, int64_t count, float* out);
  // out[i] = a . rows[i] for i in [0, count), count at most kDotRows, of `cols` numbers each: 64
  // interleaved partial sums, then a tree, whatever the count.
  void (*dot_rows)(const float* a, const float* const* rows, int count, int64_t cols, float* out);
  // `best` becomes the greatest of itself and of x [count], whose first number's index is `first`.
  void (*greatest)(const float* x, int64_t count, int64_t first, Greatest* best);
  // Where a panel's accumulators go, acc [columns][16], of which the first `width` are rows of the
  // matrix. target[c stride + r] = (add ? itself : 0) + (acc[c][r] + bias[r]); bias may be null.
  void (*store_panel)(const float* acc, int32_t columns, int64_t width, const float* bias, bool add,
                      float* target, int64_t stride);
  // target[entries[c].row stride + r] += entries[c].weight acc[c][r].
  void (*add_weighted)(const float* acc, const RowWeight* entries, int32_t columns, int64_t width,
                       float* target, int64_t stride);
};

const KernelTable& avx2_kernels();
const KernelTable& avx512_kernels();
const KernelTable& avx512_bf16_kernels();

}  // namespace hadal::kernels::cpu
